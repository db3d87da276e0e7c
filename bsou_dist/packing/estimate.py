"""What packing will take, from a few clips that are packed in memory."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bsou_dist.common.errors import InputError
from bsou_dist.common.worker_pool import Limits, Lost, ordered_map
from bsou_dist.packing.encode_clip import EncodedClip, EncodeRequest, PackConfig, encode_clip
from bsou_dist.packing.plan import PackPlan
from bsou_dist.packing.shard_record import GIVEN_UP, reason_class
from bsou_dist.sources.raw_clip import even_indices

_TRIED_CLIPS = 20
_SIZED_CLIPS = 400  # whose files' sizes are asked for, to choose those that are tried
_TRYING_PROCESSES = 4  # each needs a first clip to get going, whose time does not count
# Of a clip: two tar headers, padding, its lines of index and manifest, and its record till then.
_OVERHEAD_BYTES = 2500

_got_going = False  # in a worker process: it has packed a clip, and imported what that takes


@dataclass(frozen=True)
class Range:
    """Where the mean of what was sampled lies, by two standard errors to both sides."""

    low: float
    high: float

    @classmethod
    def of_mean(cls, sample: list[float]) -> Range:
        """Range of the mean that a sample gives; half the value to both sides if there is one."""
        mean = float(np.mean(sample))
        if len(sample) > 1:
            standard_error = float(np.std(sample, ddof=1)) / len(sample) ** 0.5
            margin = 2 * standard_error
        else:
            margin = mean / 2
        return cls(max(0.0, mean - margin), mean + margin)

    def times(self, factor: float) -> Range:
        """Range of a sum of so many, or of a share."""
        return Range(self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Estimate:
    """What packing the clips that are left will take.

    Attributes:
        clips: how many are left.
        tried: how many of them were packed in memory for this.
        processes: how many will work at once.
        seconds: time of all of it, on the clock.
        bytes: size of all of it.
        free_bytes: room where the shards will be.
        rejects: rejects among the clips tried, by class of reason.
    """

    clips: int
    tried: int
    processes: int
    seconds: Range
    bytes: Range
    free_bytes: int
    rejects: dict[str, int]

    def __str__(self) -> str:
        processes = "process" if self.processes == 1 else "processes"
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.rejects.items())
        rejects = f"{sum(self.rejects.values())} of the {self.tried}"
        if reasons:
            rejects += f" ({reasons})"
        lines = [
            f"estimate for {self.clips} clips, from {self.tried} of them that were tried:",
            f"  time: {_clock(self.seconds.low)} to {_clock(self.seconds.high)} "
            f"(hours:minutes:seconds) with {self.processes} {processes}",
            f"  disk: {self.bytes.low / 1e9:.3g} to {self.bytes.high / 1e9:.3g} GB, of "
            f"{self.free_bytes / 1e9:.3g} GB that are free there",
            f"  rejects: {rejects}",
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Trial:
    outcome: EncodedClip | str
    seconds: float
    is_first: bool  # in its process, so that its time is that of imports, too


def estimate_packing(
    plan: PackPlan,
    shards: Sequence[int],
    out: Path,
    config: PackConfig,
    *,
    workers: int,
    jobs: int,
    limits: Limits,
) -> Estimate:
    """Pack a few clips of shards, from all over the cohort and of all sizes, and keep nothing.

    Time is that of as many processes as `jobs` with so many `workers` have and there is work for,
    each like those of this machine.
    """
    rows = [row for number in shards for row in plan.rows_of(number)]
    requests = _choose(plan, rows)
    jobs_at_work = min(jobs, len(shards))
    processes = min(max(1, workers) * jobs_at_work, len(rows))

    seconds: list[float] = []
    seconds_of_first: list[float] = []
    shard_bytes: list[float] = []
    rejects: Counter[str] = Counter()
    trying_processes = min(processes, _TRYING_PROCESSES)
    with closing(_try_clips(requests, config, trying_processes, limits)) as trials:
        for trial in tqdm(
            trials, desc="estimate", total=len(requests), unit="clip", leave=False, disable=None
        ):
            if trial.is_first:
                seconds_of_first.append(trial.seconds)
            else:
                seconds.append(trial.seconds)
            if isinstance(trial.outcome, EncodedClip):
                json_bytes = len(str(trial.outcome.record))
                shard_bytes.append(len(trial.outcome.data) + json_bytes + _OVERHEAD_BYTES)
            else:
                shard_bytes.append(0)
                rejects[reason_class(trial.outcome)] += 1
    return Estimate(
        clips=len(rows),
        tried=len(requests),
        processes=processes,
        seconds=Range.of_mean(seconds or seconds_of_first).times(len(rows) / processes),
        bytes=Range.of_mean(shard_bytes).times(len(rows)),
        free_bytes=_free_bytes(out),
        rejects=dict(rejects),
    )


def check_disk(estimated: Estimate, out: Path) -> None:
    """InputError if there is clearly too little room."""
    if estimated.bytes.low > estimated.free_bytes:
        raise InputError(
            f"the shards need {estimated.bytes.low / 1e9:.3g} GB at least, and "
            f"{estimated.free_bytes / 1e9:.3g} GB are free at {out}; make room, name a folder "
            "elsewhere, or pack smaller (prepare.size_px, prepare.max_frames, jpeg_quality)"
        )


def _choose(plan: PackPlan, rows: list[int]) -> list[EncodeRequest]:
    """Choose clips from all over these rows of the plan, of every size alike."""
    requests = []
    for place in even_indices(len(rows), _SIZED_CLIPS):
        [clip] = plan.clips(range(rows[place], rows[place] + 1))
        requests.append((plan.root, clip.path, clip.mm_per_px, clip.frame_range))
    requests.sort(key=_file_size)
    if len(requests) > _TRIED_CLIPS:
        # The middle one of each of so many groups of neighbours in size.
        group = len(requests) / _TRIED_CLIPS
        requests = [requests[int((number + 0.5) * group)] for number in range(_TRIED_CLIPS)]
    # Large and small in turn, so that the first ones, which do not count, are of no particular
    # size.
    order = np.random.default_rng(0).permutation(len(requests))
    return [requests[place] for place in order]


def _file_size(request: EncodeRequest) -> int:
    root, path, *_ = request
    try:
        return (root / path).stat().st_size
    except OSError:
        return 0


def _try_clips(
    requests: list[EncodeRequest], config: PackConfig, processes: int, limits: Limits
) -> Generator[_Trial, None, None]:
    """Encode clips in turn; one that is lost takes all the time that it may."""
    work = partial(_try_clip, config=config)
    with closing(ordered_map(work, requests, processes, limits)) as results:
        for result in results:
            if isinstance(result, Lost):
                yield _Trial(f"{GIVEN_UP}: {result.reason}", limits.seconds, is_first=False)
            else:
                yield result


def _try_clip(request: EncodeRequest, config: PackConfig) -> _Trial:
    global _got_going
    is_first = not _got_going
    _got_going = True
    began_s = time.perf_counter()
    outcome = encode_clip(request, config)
    return _Trial(outcome, time.perf_counter() - began_s, is_first)


def _clock(seconds: float) -> str:
    """Time as h:mm:ss."""
    whole_minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(whole_minutes, 60)
    return f"{hours}:{minutes:02d}:{whole_seconds:02d}"


def _free_bytes(folder: Path) -> int:
    """Room where the folder is, or will be."""
    nearest = next(path for path in (folder, *folder.parents) if path.is_dir())
    return shutil.disk_usage(nearest).free
