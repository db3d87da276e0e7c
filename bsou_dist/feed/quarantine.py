"""Clips that could not be decoded: written down, counted, and past a budget the end of the run."""

from __future__ import annotations

import csv
from pathlib import Path
from threading import Lock

from bsou_dist.common.csv_cells import escaped_cell, unescaped_cell
from bsou_dist.common.errors import WorkFailed

FILES = "quarantine-*.csv"
COLUMNS = ("shard", "offset", "key", "reason")


class QuarantineExceeded(WorkFailed):
    """More clips could not be decoded than the budget allows."""


def default_budget(clips: int) -> int:
    """The larger of 10 clips and 0.1 % of them."""
    return max(10, clips // 1000)


def quarantined(folder: Path) -> dict[str, str]:
    """Reasons by the keys of the clips in all quarantine files of a folder.

    These are what all processes of a run have set aside.
    """
    reasons: dict[str, str] = {}
    for path in sorted(folder.glob(FILES)):
        with path.open(newline="") as lines:
            for row in csv.DictReader(lines):
                reasons[unescaped_cell(row["key"])] = unescaped_cell(row["reason"])
    return reasons


def forget_quarantined(folder: Path) -> None:
    """Remove all quarantine files of a folder."""
    for path in folder.glob(FILES):
        path.unlink()


class Quarantine:
    """A CSV file of undecodable clips, a line per clip: shard, byte offset, key, reason.

    Each process of a run writes a file of its own, `quarantine-RANK.csv`, into one folder; the
    budget is that of all of them. Files that are already there are continued, and a clip counts
    once however many epochs, processes or restarts meet it.
    """

    def __init__(self, folder: Path, budget: int, rank: int = 0) -> None:
        self.folder = folder
        self.path = folder / FILES.replace("*", str(rank))
        self.budget = budget
        self._keys = quarantined(folder)
        self._one_at_a_time = Lock()

    @property
    def count(self) -> int:
        """Clips known to be set aside: this process's, and others' as of its last addition."""
        return len(self._keys)

    def add(self, shard: str, offset: int, key: str, reason: str) -> None:
        """Write a clip down.

        Raises:
            QuarantineExceeded: the budget is passed; the message names this file and the clip.
        """
        with self._one_at_a_time:
            self._add(shard, offset, key, reason)

    def _add(self, shard: str, offset: int, key: str, reason: str) -> None:
        if key in self._keys:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as lines:
            writer = csv.writer(lines)
            if lines.tell() == 0:
                writer.writerow(COLUMNS)
            texts = (escaped_cell(text) for text in (shard, key, " ".join(reason.split())))
            shown_shard, shown_key, shown_reason = texts
            writer.writerow((shown_shard, offset, shown_key, shown_reason))
        self._keys = quarantined(self.folder)
        if self.count > self.budget:
            raise QuarantineExceeded(
                f"{self.count} clips could not be decoded, and {self.budget} are allowed; they "
                f"are listed in {self.folder / FILES}. "
                f"The last: {key} in {shard} at byte {offset}: {reason}"
            )
