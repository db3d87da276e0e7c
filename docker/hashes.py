"""Print requirements with the hash of every file in a folder, as `pip download` fills it.

    python docker/requirements.py pyproject.toml > requirements.txt
    pip download --constraint constraints.txt --requirement requirements.txt --dest wheels
    python docker/hashes.py wheels > hashes.txt

With these lines in hashes.txt, the images take no other file, whatever an index serves.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from packaging.utils import parse_sdist_filename, parse_wheel_filename


def requirement_of(path: Path) -> str:
    """The requirement that a wheel or source archive meets, with its hash."""
    if path.suffix == ".whl":
        name, version, _, _ = parse_wheel_filename(path.name)
    else:
        name, version = parse_sdist_filename(path.name)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{name}=={version} --hash=sha256:{sha256}"


if __name__ == "__main__":
    print(*map(requirement_of, sorted(Path(sys.argv[1]).iterdir())), sep="\n")
