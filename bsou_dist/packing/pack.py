"""A cohort's clips into shards: the same input and pseudonym key give the same bytes, however often
it is stopped and however many processes share the work.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.common.worker_pool import Limits, Lost, ordered_map
from bsou_dist.packing.encode_clip import EncodedClip, PackConfig, encode_clip
from bsou_dist.packing.folder import PackFailed, PackSummary, ShardFolder, check_place, recipe_of
from bsou_dist.packing.plan import PackPlan, PlannedClip, plan_clips
from bsou_dist.packing.private_folder import KEY_NAME, REJECTS_NAME, PrivateFolder
from bsou_dist.packing.progress import PackProgress
from bsou_dist.packing.reject_limit import MAX_REJECTS, RejectCounts
from bsou_dist.packing.shard_record import GIVEN_UP, ShardRecord, shard_name
from bsou_dist.shards.pseudonyms import Pseudonymizer, load_key, load_or_create_key
from bsou_dist.shards.shard_file import ShardWriter

LIMITS = Limits(seconds=120, memory_mb=4096)
"""What a clip may take, unless told otherwise."""

Result = EncodedClip | str | Lost  # str: why the clip is rejected
Encode = Callable[[Iterable[PlannedClip]], closing[Generator[Result, None, None]]]


@dataclass(frozen=True)
class Share:
    """Every `of`-th shard, from the `number`-th on, counted from 1."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def shards(self, plan: PackPlan) -> range:
        """Their numbers."""
        return plan.shards[self.number - 1 :: self.of]


@dataclass(frozen=True)
class Packing:
    """A shard folder and what is to be packed into it."""

    plan: PackPlan
    folder: ShardFolder
    private: PrivateFolder
    config: PackConfig


def pack(
    cohort_table: pd.DataFrame,
    root: Path,
    out: Path,
    *,
    config: PackConfig,
    private: Path,
    workers: int = 2,
    limits: Limits = LIMITS,
    max_rejects: float = MAX_REJECTS,
    progress: bool = True,
) -> PackSummary:
    """Pack every clip of the cohort into shards under `out`.

    A clip that cannot be read or is of no use is rejected with a reason, never an error: paths and
    reasons go to `private/rejects.csv`, counts to `shards.json`. The folder `private` also gets the
    pseudonym key and `keymap.parquet` (identities and paths to keys and pseudonyms); it must be
    kept apart from the shards.

    Stopped and run again with the same arguments, it goes on after the last whole shard. A finished
    folder is left as it is.

    Args:
        cohort_table: a row per clip, as `cohort` reads it.
        root: folder that the table's `path` is relative to.
        out: the shard folder: new, empty, or begun by the same call.
        config: how to pack.
        private: folder outside `out`, readable by its owner only.
        workers: processes that read and encode; 0 works in this process.
        limits: what a clip may take before it is rejected; with 0 workers there are none.
        max_rejects: share of the latest clips (up to 1000, and not before 100) above which packing
            stops.
        progress: show a progress bar.

    Raises:
        InputError: a column is missing, `private` lies inside `out`, `out` holds something else or
            was begun with another configuration, cohort or key, another process is packing into it,
            or every clip was rejected.
        PackFailed: too many clips were rejected, or shards went missing meanwhile.
    """
    packing = plan_packing(cohort_table, root, out, config=config, private=private)
    if isinstance(packing, PackSummary):
        return packing
    begin(packing)
    pack_share(
        packing, Share(), workers=workers, limits=limits, max_rejects=max_rejects, progress=progress
    )
    return finish(packing)


def plan_packing(
    cohort_table: pd.DataFrame, root: Path, out: Path, *, config: PackConfig, private: Path
) -> Packing | PackSummary:
    """What is to be packed, without touching `out`; the summary if all is packed already.
    InputError as `pack`.
    """
    out, private = out.absolute(), private.absolute()
    if private == out or out in private.parents:
        raise InputError(
            f"the private folder {private} lies inside the shard folder {out}; name one outside "
            "it, "
            "because whoever gets the shards must not get the key"
        )
    check_place(out)
    pseudonymizer = Pseudonymizer(_key(out, private))
    plan = plan_clips(cohort_table, root.absolute(), config.shard_clips, pseudonymizer)
    folder = ShardFolder(
        out,
        {
            "config": config.model_dump(),
            "cohort": plan.fingerprint(),
            "pseudonym_key": pseudonymizer.fingerprint,
        },
    )
    if (finished := folder.finished()) is not None:
        PrivateFolder(private).forget_plan()  # there if the last run was stopped at the very end
        return finished
    folder.check_begin()
    return Packing(plan, folder, PrivateFolder(private), config)


def _key(out: Path, private: Path) -> bytes:
    """The pseudonym key; a new one only where nothing was begun with another."""
    path = private / KEY_NAME
    if recipe_of(out) is None:
        return load_or_create_key(path)
    if not path.is_file():
        raise InputError(
            f"{out} was packed with a pseudonym key, and {path} is missing; restore it, or name "
            "the "
            "private folder that it is in with --private"
        )
    return load_key(path)


def begin(packing: Packing, source: dict[str, Any] | None = None) -> None:
    """Make the folder ready for `pack_share`, in this process and in others that call
    `begun_before`.

    `source` is kept with the plan, for whoever wants to know what that was made from.
    """
    packing.folder.begin()
    packing.private.write_plan(packing.plan, packing.folder.recipe["cohort"], source or {})


def begun_before(out: Path, *, config: PackConfig, private: Path) -> Packing | PackSummary:
    """What `begin` made ready, without reading the cohort again; the summary if all is packed.

    Raises:
        InputError: nothing was made ready, or with another configuration, or another key is there
            now.
    """
    out, secrets = out.absolute(), PrivateFolder(private.absolute())
    if (recipe := recipe_of(out)) is None:
        raise InputError(
            f"{out} is not begun, and a share of the work is only known then; give the same "
            "command with "
            "--begin instead of --share first"
        )
    key = Pseudonymizer(_key(out, secrets.path)).fingerprint
    folder = ShardFolder(out, {**recipe, "config": config.model_dump(), "pseudonym_key": key})
    if (finished := folder.finished()) is not None:
        return finished
    folder.check()
    return Packing(secrets.read_plan(recipe["cohort"], config.shard_clips), folder, secrets, config)


def pack_share(
    packing: Packing,
    share: Share,
    *,
    workers: int,
    limits: Limits = LIMITS,
    max_rejects: float = MAX_REJECTS,
    progress: bool = True,
) -> None:
    """Pack what is missing of a share of the shards. Several processes may do so at once, each with
    its own share.

    Clips that were given up for a reason that may pass, now or by an earlier run, are tried once
    more at the end.

    Raises:
        InputError: another process is writing a shard of this share, or has finished the folder.
        PackFailed: too many clips were rejected; shards of this run that lost more than
            `max_rejects` of theirs are not kept, since whatever is mended may bring their clips
            back.
    """
    shards = share.shards(packing.plan)
    pending, faults = packing.folder.pending(packing.plan, shards)
    for fault in faults:
        print(f"note: {fault}", file=sys.stderr)

    def encode(clips: Iterable[PlannedClip]) -> closing[Generator[Result, None, None]]:
        jobs = ((packing.plan.root, clip.path, clip.mm_per_px) for clip in clips)
        return closing(
            ordered_map(partial(encode_clip, config=packing.config), jobs, workers, limits)
        )

    _pack_shards(
        packing,
        pending,
        encode,
        max_rejects,
        PackProgress(
            total=_clips(packing.plan, shards),
            done=_clips(packing.plan, shards) - _clips(packing.plan, pending),
            shown=progress,
        ),
    )
    if returned := _try_again(packing, shards, encode):
        # Shards that had all kinds of rejects already say nothing about the latest clips.
        _pack_shards(
            packing,
            returned,
            encode,
            1.0,
            PackProgress(total=_clips(packing.plan, returned), done=0, shown=progress),
        )


def _pack_shards(
    packing: Packing,
    numbers: Sequence[int],
    encode: Encode,
    max_rejects: float,
    progress: PackProgress,
) -> None:
    plan, folder = packing.plan, packing.folder
    clips = (clip for number in numbers for clip in plan.clips(plan.rows_of(number)))
    counts = RejectCounts(max_rejects)
    doubtful = []
    try:
        with encode(clips) as results, progress as bar:
            for number in numbers:
                with folder.claimed(number):
                    # Not strict: what the clips leave over belongs to the next shards.
                    members = _counted(
                        zip(plan.clips(plan.rows_of(number)), results, strict=False), counts, bar
                    )
                    if folder.is_packed(plan, number):  # by another process, since this one looked
                        deque(members, maxlen=0)
                        continue
                    part = _write_shard(folder.path, number, members)
                    folder.write_record(number, part)
                if part.reject_share > max_rejects:
                    doubtful.append(number)
    except PackFailed:
        for number in doubtful:
            folder.forget_record(number)
        raise


def _try_again(packing: Packing, numbers: range, encode: Encode) -> list[int]:
    """Try clips that were given up once more; returns the shards that can have one back, now to be
    packed again.
    """
    plan, folder = packing.plan, packing.folder
    unsettled = folder.unsettled(plan, numbers)
    if not unsettled:
        return []
    clips = {
        number: [
            clip
            for clip in plan.clips(plan.rows_of(number))
            if clip.columns["clip"] in part.given_up
        ]
        for number, part in unsettled.items()
    }
    print(
        f"note: {sum(map(len, clips.values()))} clips were {GIVEN_UP} and are tried once more",
        file=sys.stderr,
    )
    returned = []
    with encode(chain.from_iterable(clips.values())) as results:
        for number, part in unsettled.items():
            outcomes = {
                clip.columns["clip"]: _outcome(result)
                for clip, result in zip(clips[number], results, strict=False)
            }
            with folder.claimed(number):
                if folder.unsettled(plan, range(number, number + 1)).get(number) != part:
                    continue  # another process was here
                if any(isinstance(outcome, EncodedClip) for outcome in outcomes.values()):
                    folder.forget_record(number)
                    returned.append(number)
                else:
                    reasons = {
                        clip: outcome
                        for clip, outcome in outcomes.items()
                        if isinstance(outcome, str)
                    }
                    folder.write_record(
                        number, replace(part, rejects=part.rejects | reasons, settled=True)
                    )
    return returned


def finish(packing: Packing) -> PackSummary:
    """Merge the parts of all shares, check that every clip is there once, and write manifest, map
    and rejects.

    Raises:
        PackFailed: a shard is missing or damaged.
        InputError: every clip was rejected.
    """
    merged = packing.folder.merge(packing.plan)
    packing.private.write_results(packing.plan, merged.reasons)
    if not len(merged.manifest):
        packing.folder.abandon()
        listed = ", ".join(f"{count} {reason}" for reason, count in merged.rejects.items())
        raise InputError(
            f"none of the {len(packing.plan.table)} clips could be packed ({listed}); "
            f"{packing.private.path / REJECTS_NAME} says why for each, for example: "
            f"{next(iter(merged.reasons.values()))}"
        )
    summary = packing.folder.finish(merged)
    packing.private.forget_plan()
    return summary


def _counted(
    members: Iterable[tuple[PlannedClip, Result]], counts: RejectCounts, bar: PackProgress
) -> Iterator[tuple[PlannedClip, EncodedClip | str]]:
    """The clips and what became of them, passing the progress bar and the judge of rejects."""
    for clip, result in members:
        outcome = _outcome(result)
        counts.add(clip, outcome if isinstance(outcome, str) else None)
        bar.update(counts.by_reason)
        yield clip, outcome


def _outcome(result: Result) -> EncodedClip | str:
    return f"{GIVEN_UP}: {result.reason}" if isinstance(result, Lost) else result


def _clips(plan: PackPlan, shards: Sequence[int]) -> int:
    return sum(len(plan.rows_of(number)) for number in shards)


def _write_shard(
    out: Path, number: int, members: Iterable[tuple[PlannedClip, EncodedClip | str]]
) -> ShardRecord:
    """Write one shard (no file if all its clips are rejected); returns its part of the folder's
    record.
    """
    part = ShardRecord()
    with ShardWriter(out, shard_name(number)) as shard:
        for clip, outcome in members:
            if isinstance(outcome, str):
                part.rejects[clip.columns["clip"]] = outcome
                continue
            place = shard.add(
                {"key": clip.key, "sweep": clip.columns["sweep"], **outcome.record}, outcome.data
            )
            described = {
                name: value for name, value in outcome.record.items() if name != "frame_offsets"
            }
            part.rows.append(
                {"key": clip.key, **clip.columns, **described, **place, "sha256": outcome.sha256}
            )
            part.clips_losing_depth += outcome.loses_depth
        if part.rows:
            shard.commit()
        else:
            shard.remove()  # what an earlier attempt made of clips that are rejected now
    return part
