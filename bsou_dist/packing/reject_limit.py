"""Rejects as they come: counted by reason, and a stop where there are too many of them."""

from __future__ import annotations

from collections import Counter, deque

from bsou_dist.packing.folder import PackFailed
from bsou_dist.packing.plan import PlannedClip
from bsou_dist.packing.shard_record import reason_class

MAX_REJECTS = 0.5
"""Share of rejects above which a run stops, unless told otherwise."""

_JUDGED_CLIPS = 100  # fewer tell nothing
# A file server that goes away late must not hide behind all the good clips before.
_RECENT_CLIPS = 1000


class RejectCounts:
    """Counts of this run, and a judgement of the latest clips."""

    def __init__(self, max_rejects: float) -> None:
        self.by_reason: Counter[str] = Counter()
        self._max_rejects = max_rejects
        self._recent: deque[tuple[int, str | None]] = deque(maxlen=_RECENT_CLIPS)

    def add(self, clip: PlannedClip, reason: str | None) -> None:
        """Count one more clip; `reason` is None if it was packed.

        Raises:
            PackFailed: too many of the latest clips were rejected.
        """
        self._recent.append((clip.line, reason))
        if reason is None:
            return
        self.by_reason[reason_class(reason)] += 1
        recent_rejects = [(line, text) for line, text in self._recent if text is not None]
        allowed = self._max_rejects * len(self._recent)
        if len(self._recent) >= _JUDGED_CLIPS and len(recent_rejects) > allowed:
            raise PackFailed(self._verdict(recent_rejects))

    def _verdict(self, rejects: list[tuple[int, str]]) -> str:
        """Say how many there were of each class of reasons, with an example from the cohort."""
        counts: Counter[str] = Counter()
        examples: dict[str, str] = {}
        for line, reason in rejects:
            name = reason_class(reason)
            counts[name] += 1
            examples[name] = f"line {line} of the cohort: {reason}"
        reasons = [
            f"  {count} {name}, for example {examples[name]}"
            for name, count in counts.most_common()
        ]
        first = (
            f"{len(rejects)} of the last {len(self._recent)} clips were rejected, more than the "
            f"share of {self._max_rejects:g} that is allowed"
        )
        last = (
            "mend that, or allow more with --max-rejects; the same command goes on with the shards "
            "that are not packed yet"
        )
        return "\n".join([first, *reasons, last])
