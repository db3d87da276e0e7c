"""The batch that a loader hands to a training step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
    data_wait_s: float = 0.0
    """Seconds that the consumer waited for this batch."""
    clips_read_ahead: int = 0
    """Clips that were read and not yet decoded when the consumer got this batch.

    None beside a wait for data: reading is slower than decoding.
    """
