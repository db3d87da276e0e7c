"""Print what a pyproject.toml requires, a line each, so that an image can install it before the
project itself.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

print(*tomllib.loads(Path(sys.argv[1]).read_text())["project"]["dependencies"], sep="\n")
