"""A cohort's clips into shards: the same input and pseudonym key give the same bytes, however often it is stopped."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from bsou_dist.errors import InputError
from bsou_dist.files import whole_file
from bsou_dist.shards.codec import Codec, encode_frames
from bsou_dist.shards.folder import PackSummary, ShardFolder
from bsou_dist.shards.plan import PlannedClip, plan_clips
from bsou_dist.shards.prepare import PrepareConfig, RejectedClip, prepare
from bsou_dist.shards.pseudonym import Pseudonymizer, load_or_create_key
from bsou_dist.shards.raw import UnreadableClip
from bsou_dist.shards.read import read_clip
from bsou_dist.shards.shard_file import ShardWriter
from bsou_dist.shards.workers import Crashed, ordered_map

KEY_NAME = "pseudonym.key"
KEYMAP_NAME = "keymap.parquet"
REJECTS_NAME = "rejects.csv"


class PackConfig(BaseModel):
    """How a cohort is packed: preparation, codec ('jpeg' or 'h264' with its quality), and cohort rows per shard."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prepare: PrepareConfig = PrepareConfig()
    codec: Codec = "jpeg"
    jpeg_quality: int = Field(default=90, ge=1, le=95)
    crf: int = Field(default=18, ge=1, le=51)
    shard_clips: int = Field(default=256, ge=1)


@dataclass(frozen=True)
class _EncodedClip:
    record: dict[str, Any]  # the JSON member, but for key and sweep
    data: bytes
    sha256: str
    loses_depth: bool


_Result = _EncodedClip | str | Crashed  # str: why the clip is rejected


def pack(cohort_table: pd.DataFrame, root: Path, out: Path, *, config: PackConfig, private: Path, workers: int = 2,
         progress: bool = True) -> PackSummary:
    """Pack every clip of the cohort into shards under `out`.

    A clip that cannot be read or is of no use is rejected with a reason, never an error: paths and reasons go to
    `private/rejects.csv`, counts to `shards.json`. The folder `private` also gets the pseudonym key and
    `keymap.parquet` (identities and paths to keys and pseudonyms); it must be kept apart from the shards.

    Stopped and run again with the same arguments, it goes on after the last whole shard. A finished folder is left as
    it is.

    Args:
        cohort_table: a row per clip, as `cohort` reads it.
        root: folder that the table's `path` is relative to.
        out: the shard folder: new, empty, or begun by the same call.
        config: how to pack.
        private: folder outside `out`, readable by its owner only.
        workers: processes that read and encode; 0 works in this process.
        progress: show a progress bar.

    Raises:
        InputError: a column is missing, `private` lies inside `out`, `out` holds something else or was begun with
            another configuration, cohort or key, or every clip was rejected.
    """
    out, private = out.absolute(), private.absolute()
    if private == out or out in private.parents:
        raise InputError(f"the private folder {private} lies inside the shard folder {out}; name one outside it, "
                         "because whoever gets the shards must not get the key")
    pseudonymizer = Pseudonymizer(load_or_create_key(private / KEY_NAME))
    clips = plan_clips(cohort_table, pseudonymizer)
    folder = ShardFolder(out, {"config": config.model_dump(), "cohort": _fingerprint(clips),
                               "pseudonym_key": pseudonymizer.fingerprint})
    if (finished := folder.finished()) is not None:
        return finished
    folder.begin()

    shards = {number: clips[start : start + config.shard_clips]
              for number, start in enumerate(range(0, len(clips), config.shard_clips))}
    pending = {number: members for number, members in shards.items() if not folder.has_part(number)}
    jobs = ((root / clip.path, clip.mm_per_px) for members in pending.values() for clip in members)
    done = len(clips) - sum(map(len, pending.values()))
    with (
        closing(ordered_map(partial(_encode_clip, config=config), jobs, workers)) as results,
        tqdm(total=len(clips), initial=done, desc="pack", unit="clip",
             disable=None if progress else True) as bar,
    ):
        counted = _counted(results, bar)
        for number, members in pending.items():
            # Not strict: what `members` leaves over belongs to the next shards.
            folder.write_part(number, _write_shard(out, number, zip(members, counted, strict=False)))

    parts = [folder.read_part(number) for number in shards]
    rows = [row for part in parts for row in part["rows"]]
    reasons = {clip: reason for part in parts for clip, reason in part["rejects"].items()}
    _write_private(private, clips, reasons)
    counts = dict(sorted(Counter(reason.split(":")[0] for reason in reasons.values()).items()))
    if not rows:
        folder.abandon()
        listed = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        raise InputError(f"none of the {len(clips)} clips could be packed ({listed}); {private / REJECTS_NAME} says "
                         f"why for each, for example: {next(iter(reasons.values()))}")
    return folder.finish(rows, counts, sum(part["clips_losing_depth"] for part in parts))


def _encode_clip(job: tuple[Path, float | None], config: PackConfig) -> _EncodedClip | str:
    """The clip at rest, or why it is rejected."""
    path, mm_per_px = job
    try:
        clip = prepare(read_clip(path, config.prepare.max_frames), config.prepare, mm_per_px)
        data, frame_offsets = encode_frames(clip.frames, config.codec, jpeg_quality=config.jpeg_quality, crf=config.crf)
    except UnreadableClip as error:
        return f"unreadable: {error}"
    except RejectedClip as error:
        return str(error)
    except Exception as error:  # of a million clips one will find a bug; its text may quote the header
        return f"unreadable: it cannot be prepared ({type(error).__name__})"
    count, height, width = clip.frames.shape
    record: dict[str, Any] = {"codec": config.codec, "frames": count, "height": height, "width": width,
                              "mm_per_px": clip.mm_per_px}
    if frame_offsets is not None:
        record["frame_offsets"] = frame_offsets
    return _EncodedClip(record, data, hashlib.sha256(data).hexdigest(), clip.depth_lost_mm > 0)


def _write_shard(out: Path, number: int, members: Iterable[tuple[PlannedClip, _Result]]) -> dict[str, Any]:
    """Write one shard (no file if all its clips are rejected); returns its part of the folder's record."""
    part: dict[str, Any] = {"rows": [], "rejects": {}, "clips_losing_depth": 0}
    with ShardWriter(out, f"{number:06d}") as shard:
        for clip, result in members:
            if isinstance(result, _EncodedClip):
                place = shard.add({"key": clip.key, "sweep": clip.columns["sweep"], **result.record}, result.data)
                described = {name: value for name, value in result.record.items() if name != "frame_offsets"}
                part["rows"].append({"key": clip.key, **clip.columns, **described, **place, "sha256": result.sha256})
                part["clips_losing_depth"] += result.loses_depth
            else:
                reason = "unreadable: its decoder crashed" if isinstance(result, Crashed) else result
                part["rejects"][clip.columns["clip"]] = reason
        if part["rows"]:
            shard.commit()
    return part


def _counted(results: Iterable[_Result], bar: tqdm) -> Iterator[_Result]:
    """The results, passing the progress bar."""
    rejects = 0
    for result in results:
        rejects += not isinstance(result, _EncodedClip)
        bar.set_postfix(rejects=rejects, refresh=False)
        bar.update()
        yield result


def _write_private(private: Path, clips: list[PlannedClip], reasons: dict[str, str]) -> None:
    rejects = [{"path": clip.path, "reason": reasons[clip.columns["clip"]]} for clip in clips
               if clip.columns["clip"] in reasons]
    with _owners_file(private / REJECTS_NAME) as file:
        pd.DataFrame(rejects, columns=["path", "reason"]).to_csv(file, index=False)
    pseudonyms = ("clip", "patient", "study", "exam")
    keymap = [{"path": clip.path, **clip.identities, **{name: clip.columns[name] for name in pseudonyms},
               "key": None if clip.columns["clip"] in reasons else clip.key} for clip in clips]
    with _owners_file(private / KEYMAP_NAME) as file:
        pd.DataFrame(keymap).to_parquet(file, index=False)


@contextmanager
def _owners_file(path: Path) -> Iterator[Path]:
    """A whole file that its owner alone may read, whoever may look into the folder."""
    with whole_file(path) as temporary:
        temporary.touch(mode=0o600)
        yield temporary


def _fingerprint(clips: list[PlannedClip]) -> str:
    """Hash of all that shards take from the cohort."""
    text = json.dumps([[clip.key, clip.mm_per_px, clip.columns] for clip in clips], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
