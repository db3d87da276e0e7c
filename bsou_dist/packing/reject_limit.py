"""Rejects as they come: counted by reason, and too many of them."""

from __future__ import annotations

from collections import Counter, deque

from bsou_dist.packing.folder import PackFailed, reason_class
from bsou_dist.packing.plan import PlannedClip

MAX_REJECTS = 0.5
"""Share of rejects above which a run stops, unless told otherwise."""

_JUDGED_CLIPS = 100  # fewer tell nothing
_RECENT_CLIPS = (
    1000  # a file server that goes away late must not hide behind all the good clips before
)


class RejectCounts:
    """Counts of this run, and a judgement of the latest clips."""

    def __init__(self, max_rejects: float) -> None:
        self.by_reason: Counter[str] = Counter()
        self._max_rejects = max_rejects
        self._recent: deque[tuple[int, str | None]] = deque(maxlen=_RECENT_CLIPS)

    def add(self, clip: PlannedClip, reason: str | None) -> None:
        """One more clip; `reason` is None if it was packed.

        Raises:
            PackFailed: too many of the latest clips were rejected.
        """
        self._recent.append((clip.line, reason))
        if reason is None:
            return
        self.by_reason[reason_class(reason)] += 1
        rejects = [(line, text) for line, text in self._recent if text is not None]
        if len(self._recent) >= _JUDGED_CLIPS and len(rejects) > self._max_rejects * len(
            self._recent
        ):
            raise PackFailed(self._verdict(rejects))

    def _verdict(self, rejects: list[tuple[int, str]]) -> str:
        counts = Counter(reason_class(reason) for _, reason in rejects)
        examples = {
            reason_class(reason): f"line {line} of the cohort: {reason}" for line, reason in rejects
        }
        return "\n".join(
            [
                f"{len(rejects)} of the last {len(self._recent)} clips were rejected, more than "
                "the share of "
                f"{self._max_rejects:g} that is allowed",
                *(
                    f"  {count} {name}, for example {examples[name]}"
                    for name, count in counts.most_common()
                ),
                "mend that, or allow more with --max-rejects; the same command goes on with the "
                "shards that are not packed "
                "yet",
            ]
        )
