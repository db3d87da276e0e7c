"""Shards packed one after the other: clips encoded, written, recorded and, where lost, retried."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bsou_dist.common.worker_pool import Limits, Lost, ordered_map
from bsou_dist.packing.encode_clip import EncodedClip, PackConfig, encode_clip
from bsou_dist.packing.folder import PackFailed, ShardFolder
from bsou_dist.packing.plan import PackPlan, PlannedClip
from bsou_dist.packing.progress import PackProgress
from bsou_dist.packing.reject_limit import RejectCounts
from bsou_dist.packing.shard_record import GIVEN_UP, ShardRecord, shard_name
from bsou_dist.shards.shard_file import ShardWriter

Outcome = EncodedClip | str
"""What became of a clip; a text says why it is rejected."""


@dataclass(frozen=True)
class ShardPacker:
    """Packs shards of a plan into a folder that was begun."""

    plan: PackPlan
    folder: ShardFolder
    config: PackConfig
    workers: int
    limits: Limits
    show_progress: bool

    def pack(self, shards: Sequence[int], *, max_rejects: float, clips_before: int = 0) -> None:
        """Pack shards in turn; `clips_before` were packed by earlier runs, for the progress bar.

        Raises:
            InputError: another process is writing one of these shards, or has finished the folder.
            PackFailed: too many clips were rejected; shards of this run that lost more than
                `max_rejects` of theirs are not kept, since whatever is mended may bring their clips
                back.
        """
        clips = (clip for number in shards for clip in self.plan.clips_of(number))
        clips_to_pack = sum(len(self.plan.rows_of(number)) for number in shards)
        progress = PackProgress(
            total=clips_before + clips_to_pack, done=clips_before, shown=self.show_progress
        )
        counts = RejectCounts(max_rejects)
        shards_above_limit = []
        try:
            with closing(self._encoded(clips)) as outcomes_of_all, progress:
                for number in shards:
                    outcomes = self._counted(number, outcomes_of_all, counts, progress)
                    with self.folder.claimed(number):
                        if self.folder.is_packed(self.plan, number):
                            # By another process, since this one looked: its clips are passed over.
                            for _ in outcomes:
                                pass
                            continue
                        record = _write_shard(self.folder.path, number, outcomes)
                        self.folder.write_record(number, record)
                    if record.reject_share > max_rejects:
                        shards_above_limit.append(number)
        except PackFailed:
            for number in shards_above_limit:
                self.folder.forget_record(number)
            raise

    def retry_given_up(self, shards: Sequence[int]) -> list[int]:
        """Try clips that this run or an earlier one gave up once more.

        Returns the shards that can have a clip back. Their records are dropped, so that they are
        packed again: a clip cannot be put into a shard that is written.
        """
        unsettled = self.folder.unsettled(self.plan, shards)
        if not unsettled:
            return []
        given_up = {
            number: [
                clip for clip in self.plan.clips_of(number) if clip.pseudonym in record.given_up
            ]
            for number, record in unsettled.items()
        }
        clips = [clip for clips_of_shard in given_up.values() for clip in clips_of_shard]
        print(f"note: {len(clips)} clips were {GIVEN_UP} and are tried once more", file=sys.stderr)

        shards_to_repack = []
        with closing(self._encoded(clips)) as outcomes:
            for number, record in unsettled.items():
                still_rejected: dict[str, str] = {}
                for clip in given_up[number]:
                    outcome = next(outcomes)
                    if isinstance(outcome, str):
                        still_rejected[clip.pseudonym] = outcome
                with self.folder.claimed(number):
                    latest = self.folder.unsettled(self.plan, [number])
                    if latest.get(number) != record:
                        continue  # another process was here
                    if len(still_rejected) < len(given_up[number]):
                        self.folder.forget_record(number)
                        shards_to_repack.append(number)
                    else:
                        rejects = record.rejects | still_rejected
                        settled = replace(record, rejects=rejects, settled=True)
                        self.folder.write_record(number, settled)
        return shards_to_repack

    def _encoded(self, clips: Iterable[PlannedClip]) -> Generator[Outcome, None, None]:
        """Encode clips in worker processes, a few ahead of whoever takes the outcomes in turn."""
        requests = ((self.plan.root, clip.path, clip.mm_per_px) for clip in clips)
        encode = partial(encode_clip, config=self.config)
        with closing(ordered_map(encode, requests, self.workers, self.limits)) as results:
            for result in results:
                if isinstance(result, Lost):
                    yield f"{GIVEN_UP}: {result.reason}"
                else:
                    yield result

    def _counted(
        self,
        number: int,
        outcomes: Iterator[Outcome],
        counts: RejectCounts,
        progress: PackProgress,
    ) -> Iterator[tuple[PlannedClip, Outcome]]:
        """Take the outcomes of a shard's clips, counting rejects and showing progress."""
        for clip in self.plan.clips_of(number):
            outcome = next(outcomes)
            counts.add(clip, outcome if isinstance(outcome, str) else None)
            progress.update(counts.by_reason)
            yield clip, outcome


def _write_shard(
    shards_dir: Path, number: int, outcomes: Iterable[tuple[PlannedClip, Outcome]]
) -> ShardRecord:
    """Write one shard, or no file if all its clips are rejected; returns what is to be recorded."""
    record = ShardRecord()
    with ShardWriter(shards_dir, shard_name(number)) as shard:
        for clip, outcome in outcomes:
            if isinstance(outcome, str):
                record.rejects[clip.pseudonym] = outcome
                continue
            member = {"key": clip.key, "sweep": clip.columns["sweep"], **outcome.record}
            place = shard.add(member, outcome.data)
            row = {"key": clip.key, **clip.columns, **outcome.record, **place}
            row["sha256"] = outcome.sha256
            row.pop("frame_offsets", None)  # a number per frame, read with the clip's own JSON
            record.rows.append(row)
        if record.rows:
            shard.commit()
        else:
            shard.remove()  # what an earlier attempt made of clips that are rejected now
    return record
