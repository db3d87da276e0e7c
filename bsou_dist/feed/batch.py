"""The batch that a loader hands to a training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bsou_dist.feed.filled_slots import FilledSlots


@dataclass
class Batch:
    """One rank's share of a global batch.

    R rows: B items, or 2B for two views, view-major (all of view 0 first). F frames of S by S
    pixels. Rows that are padding or could not be decoded have `valid` False, missing labels and
    pixels of zero; padding moreover has no key and -1 in every integer field.
    """

    clips: Tensor
    """float32 (R, 1, F, S, S) for clips, (R, 6, 1, F, S, S) for exams."""
    slots: Tensor
    """bool (R, 1) or (R, 6): False where a slot is empty or could not be decoded."""
    valid: Tensor
    """bool (R,): True where at least one slot is."""
    labels: dict[str, Tensor]
    """Per task int64 (R,) with -1, or float32 (R,) with NaN, for missing."""
    key: list[str]
    """R clip keys, or exam pseudonyms."""
    study: Tensor
    """int64 (R,): a code that is equal for equal studies, within one set."""
    exam: Tensor
    """int64 (R,): the same for exams."""
    subject: Tensor
    """int64 (R,): the same for patients."""
    sweep: Tensor
    """int64 (R,): position in `SWEEPS`; -1 for exams and for sweeps of no canonical type."""
    index: Tensor
    """int64 (R,): position in the ClipSet or ExamSet."""
    views: int
    """Rows per item, 1 or 2."""
    epoch: int
    step: int
    plan: Any = None
    """What a loss had made ahead of the rows of all ranks (see `Loader.planner`), if anything."""
    filled: FilledSlots | None = None
    """`slots` on the CPU, where the feed knows them there."""
    data_wait_s: float = 0.0
    """Seconds that the consumer waited for this batch."""
    clips_read_ahead: int = 0
    """Clips that were read and not yet decoded when the consumer got this batch.

    None beside a wait for data: reading is slower than decoding.
    """

    def inputs(self, rows: slice | None = None) -> tuple[Any, ...]:
        """What a network takes of this batch, or of some of its rows."""
        if rows is None:
            rows = slice(None)
        inputs = (self.clips[rows], self.slots[rows])
        if self.filled is None:
            return inputs
        return (*inputs, self.filled.rows(rows))
