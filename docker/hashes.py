"""Print what pip has found to install, a line each with the hash of its file.

    python docker/requirements.py pyproject.toml > requirements.txt
    pip install --dry-run --ignore-installed --report report.json \
        --constraint constraints.txt --requirement requirements.txt
    python docker/hashes.py report.json > hashes.txt

With these lines in hashes.txt, the images take no other file, whatever an index serves.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HEADING = "# Every file that the images install, by its hash; made as docker/README.md tells."


def requirement_of(found: dict[str, Any]) -> str:
    """The requirement that an entry of pip's report meets, with the hash of its file."""
    metadata = found["metadata"]
    name = metadata["name"].lower().replace("_", "-").replace(".", "-")
    sha256 = found["download_info"]["archive_info"]["hashes"]["sha256"]
    return f"{name}=={metadata['version']} --hash=sha256:{sha256}"


if __name__ == "__main__":
    report = json.loads(Path(sys.argv[1]).read_text())
    lines = sorted(requirement_of(found) for found in report["install"])
    print(HEADING, *lines, sep="\n")
