"""Print what an image installs before the project itself, a line each.

    python docker/requirements.py pyproject.toml [hashes.txt]

These are the lines of hashes.txt, which pin every file by its hash, or where it has none, what the
pyproject.toml requires, with DALI for CUDA 13.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

project, *hashes = map(Path, sys.argv[1:])
pinned = [
    line
    for path in hashes
    for line in path.read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
declared = tomllib.loads(project.read_text())["project"]
required = [*declared["dependencies"], *declared["optional-dependencies"]["cuda13"]]
print(*(pinned or required), sep="\n")
