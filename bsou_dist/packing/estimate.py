"""What packing will take, from a few clips that are packed in memory."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bsou_dist.common.errors import InputError
from bsou_dist.common.worker_pool import Limits, Lost, ordered_map
from bsou_dist.packing.encode_clip import EncodedClip, EncodeRequest, PackConfig, encode_clip
from bsou_dist.packing.folder import reason_class
from bsou_dist.packing.pack import LIMITS, Packing
from bsou_dist.packing.shard_record import GIVEN_UP
from bsou_dist.sources.raw_clip import even_indices

FEW_CLIPS = 200
"""So many are packed before anyone has read an estimate."""

_TRIED_CLIPS = 20
_SIZED_CLIPS = 400  # whose files' sizes are asked for, to choose those that are tried
_TRYING_PROCESSES = 4  # each needs a first clip to get going, whose time does not count
# of a clip: two tar headers, padding, its lines of index and manifest, and its record till then
_OVERHEAD_BYTES = 2500

_got_going = False  # in a worker process: it has packed a clip, and imported what that takes


@dataclass(frozen=True)
class Range:
    """Where the mean of what was sampled lies, by two standard errors to both sides."""

    low: float
    high: float

    @classmethod
    def of_mean(cls, values: list[float]) -> Range:
        """From a sample."""
        mean = float(np.mean(values))
        margin = (
            2 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else mean / 2
        )
        return cls(max(0.0, mean - margin), mean + margin)

    def times(self, factor: float) -> Range:
        """Of a sum, or of a share."""
        return Range(self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Estimate:
    """What packing the clips that are left will take."""

    clips: int
    tried: int
    processes: int
    seconds: Range
    bytes: Range
    free_bytes: int
    rejects: dict[str, int]
    """Of the clips tried, by reason."""

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.rejects.items())
        return "\n".join(
            [
                f"estimate for {self.clips} clips, from {self.tried} of them that were tried:",
                f"  time: {_clock(self.seconds.low)} to {_clock(self.seconds.high)} "
                "(hours:minutes:seconds) with "
                f"{self.processes} {'process' if self.processes == 1 else 'processes'}",
                f"  disk: {self.bytes.low / 1e9:.3g} to {self.bytes.high / 1e9:.3g} GB, of "
                f"{self.free_bytes / 1e9:.3g} GB that are free there",
                f"  rejects: {sum(self.rejects.values())} of the {self.tried}"
                + (f" ({reasons})" if reasons else ""),
            ]
        )


@dataclass(frozen=True)
class _Tried:
    outcome: EncodedClip | str
    seconds: float
    first: bool  # in its process, so that its time is that of imports, too


def estimate(
    packing: Packing, *, workers: int, jobs: int = 1, limits: Limits = LIMITS, at_least: int = 1
) -> Estimate | None:
    """Pack a few clips that are still missing, from all over the cohort and of all sizes, and keep
    nothing of it.

    Returns None if fewer than `at_least` are missing. Time is that of as many processes of `jobs`
    with so many `workers` as there is work for, each like those of this machine.
    """
    pending, _ = packing.folder.pending(packing.plan, packing.plan.shards)
    rows = [row for number in pending for row in packing.plan.rows_of(number)]
    if len(rows) < at_least:
        return None
    processes = min(workers * min(jobs, len(pending)), len(rows))
    chosen = _choose(packing, rows)
    first_s, seconds, sizes, reasons = list[float](), list[float](), list[float](), Counter[str]()
    work = partial(_try, config=packing.config)
    with closing(ordered_map(work, chosen, min(processes, _TRYING_PROCESSES), limits)) as results:
        for result in tqdm(
            results, desc="estimate", total=len(chosen), unit="clip", leave=False, disable=None
        ):
            if isinstance(result, Lost):
                result = _Tried(f"{GIVEN_UP}: {result.reason}", limits.seconds, first=False)
            (first_s if result.first else seconds).append(result.seconds)
            if isinstance(result.outcome, EncodedClip):
                sizes.append(
                    len(result.outcome.data) + len(str(result.outcome.record)) + _OVERHEAD_BYTES
                )
            else:
                sizes.append(0)
                reasons[reason_class(result.outcome)] += 1
    return Estimate(
        len(rows),
        len(chosen),
        processes,
        Range.of_mean(seconds or first_s).times(len(rows) / processes),
        Range.of_mean(sizes).times(len(rows)),
        _free_bytes(packing.folder.path),
        dict(reasons),
    )


def check_disk(estimated: Estimate, out: Path) -> None:
    """InputError if there is clearly too little room."""
    if estimated.bytes.low > estimated.free_bytes:
        raise InputError(
            f"the shards need {estimated.bytes.low / 1e9:.3g} GB at least, and "
            f"{estimated.free_bytes / 1e9:.3g} GB are "
            f"free at {out}; make room, name a folder elsewhere, or pack smaller "
            "(prepare.size_px, prepare.max_frames, "
            "jpeg_quality)"
        )


def _choose(packing: Packing, rows: list[int]) -> list[EncodeRequest]:
    """Clips from all over the cohort, of every size alike."""
    clips = [
        packing.plan.clips(range(rows[place], rows[place] + 1))[0]
        for place in even_indices(len(rows), _SIZED_CLIPS)
    ]
    clips.sort(key=lambda clip: _size(packing.plan.root / clip.path))
    share = len(clips) / _TRIED_CLIPS
    chosen = (
        sorted({int((place + 0.5) * share) for place in range(_TRIED_CLIPS)})
        if share > 1
        else range(len(clips))
    )
    # Large and small in turn, so that the first ones, which do not count, are of no particular
    # size.
    order = np.random.default_rng(0).permutation(list(chosen))
    return [(packing.plan.root, clips[place].path, clips[place].mm_per_px) for place in order]


def _clock(seconds: float) -> str:
    """As h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


def _free_bytes(folder: Path) -> int:
    """Where the folder is, or will be."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.is_dir())).free


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _try(job: EncodeRequest, config: PackConfig) -> _Tried:
    global _got_going
    first, _got_going = not _got_going, True
    began = time.perf_counter()
    outcome = encode_clip(job, config)
    return _Tried(outcome, time.perf_counter() - began, first)
