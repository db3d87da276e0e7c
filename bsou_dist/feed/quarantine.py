"""Clips that could not be decoded: written down, counted, and past a budget the end of the run."""

from __future__ import annotations

import csv
from pathlib import Path

COLUMNS = ("shard", "offset", "key", "reason")


class QuarantineExceeded(RuntimeError):
    """More clips could not be decoded than the budget allows: a failed run, not a user's mistake."""


def default_budget(clips: int) -> int:
    """The larger of 10 clips and 0.1 % of them."""
    return max(10, clips // 1000)


class Quarantine:
    """CSV file of undecodable clips (shard, byte offset, key, reason), a line per clip.

    A file that is already there is continued, and a clip counts once however many epochs or restarts meet it.
    Give each process a file of its own; the budget then holds for each.
    """

    def __init__(self, path: Path, budget: int) -> None:
        self.path = path
        self.budget = budget
        self._keys: set[str] = set()
        if path.is_file():
            with path.open(newline="") as lines:
                self._keys = {row["key"] for row in csv.DictReader(lines)}

    @property
    def count(self) -> int:
        """Clips written down so far."""
        return len(self._keys)

    def add(self, shard: str, offset: int, key: str, reason: str) -> None:
        """Write a clip down.

        Raises:
            QuarantineExceeded: the budget is passed; the message names this file and the clip.
        """
        if key not in self._keys:
            self._keys.add(key)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", newline="") as lines:
                writer = csv.writer(lines)
                if lines.tell() == 0:
                    writer.writerow(COLUMNS)
                writer.writerow((shard, offset, key, " ".join(reason.split())))
        if self.count > self.budget:
            raise QuarantineExceeded(
                f"{self.count} clips could not be decoded, and {self.budget} are allowed; they are listed in "
                f"{self.path}. The last: {key} in {shard} at byte {offset}: {reason}")
