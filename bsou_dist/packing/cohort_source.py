"""The files that a cohort is read from, and whether they are still those of an earlier plan."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsou_dist import __version__
from bsou_dist.cohort.exclusions import left_out
from bsou_dist.cohort.table import Cohort, read_cohort
from bsou_dist.common.files import check_outside
from bsou_dist.packing.encode_clip import PackConfig


@dataclass(frozen=True)
class CohortSource:
    """A cohort that is still to be read: its table or folder, its root, and its column map.

    ``strict`` is as for `read_cohort`.
    """

    path: Path
    root: Path | None = None
    column_map: str | None = None
    strict: bool = False

    def check_outside(self, *folders: Path) -> None:
        """InputError if a folder to be written lies in that of the cohort."""
        if self.path.is_dir():
            for corpus in (self.path, self.root or self.path):
                check_outside(corpus, *folders)

    def read(self, config: PackConfig) -> tuple[Cohort, dict[str, Any]]:
        """Read the cohort, look for its files, and print what was left out and other notes.

        Returns the cohort, and a description of what it was read from, to be kept with the plan
        that is made of it for packing with `config`.

        Raises:
            InputError: as `read_cohort`.
        """
        cohort = read_cohort(
            self.path,
            column_map=self.column_map,
            root=self.root,
            check_files=True,
            strict=self.strict,
        )
        clips_left_out = left_out(cohort.flow)
        if clips_left_out:
            counts = ", ".join(f"{count} {reason}" for reason, count in clips_left_out.items())
            print(
                f"note: left out before packing, of {cohort.flow[0].clips} clips: {counts}",
                file=sys.stderr,
            )
        for note in cohort.notes:
            print(f"note: {note}", file=sys.stderr)
        tables = list(cohort.files)
        if self.column_map:
            tables.append(Path(self.column_map))
        hashes = {str(path.absolute()): _sha256(path) for path in tables}
        return cohort, {"asked": self._asked(config), "files": hashes}

    def is_described_by(self, description: dict[str, Any], config: PackConfig) -> bool:
        """Whether reading this source would lead to the same plan as when it was described."""
        if description["asked"] != self._asked(config):
            return False
        hashes: dict[str, str | None] = description["files"]
        return all(_sha256(Path(name)) == sha256 for name, sha256 in hashes.items())

    def _asked(self, config: PackConfig) -> dict[str, Any]:
        """All that a plan depends on, besides what the files hold."""
        return {
            "version": __version__,
            "config": config.model_dump(mode="json"),
            "cohort": str(self.path.absolute()),
            "root": str(self.root.absolute()) if self.root else None,
            "column_map": str(self.column_map) if self.column_map else None,
            "strict": self.strict,
        }


def _sha256(path: Path) -> str | None:
    """Hash of a file; None if it is not there (a ready map is no file)."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
