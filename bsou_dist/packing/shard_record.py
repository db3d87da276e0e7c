"""The record of one finished shard, and whether it is what the plan asks for."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bsou_dist.common.files import write_text
from bsou_dist.packing.plan import PlannedClip
from bsou_dist.shards.shard_file import index_text

GIVEN_UP = "given up"
"""Class of the reasons that may pass: the file could not be opened, took too long or too much
memory, or its decoder crashed.
"""


class DamagedRecord(Exception):
    """The record of a shard, or the shard itself, is missing or not as planned; the message says
    what is wrong.
    """


@dataclass
class ShardRecord:
    """What one shard holds: manifest rows, why its other clips were rejected (by clip pseudonym),
    and a count.

    `settled` once clips that were given up have been tried a second time.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejects: dict[str, str] = field(default_factory=dict)
    clips_losing_depth: int = 0
    settled: bool = False

    @property
    def given_up(self) -> set[str]:
        """Clips, by pseudonym, that another attempt may pack."""
        return {clip for clip, reason in self.rejects.items() if reason.startswith(GIVEN_UP)}

    @property
    def reject_share(self) -> float:
        """Of all its clips."""
        return len(self.rejects) / (len(self.rows) + len(self.rejects))


def shard_name(number: int) -> str:
    """Of the files of a shard, without their endings."""
    return f"{number:06d}"


def write_record(path: Path, part: ShardRecord) -> None:
    """Record a shard as finished; its files must have their names by now."""
    write_text(path, json.dumps(asdict(part)))


def read_record(path: Path, shards_dir: Path, number: int, clips: list[PlannedClip]) -> ShardRecord:
    """What `write_record` recorded of shard `number`, which was planned to hold `clips`.

    Raises:
        DamagedRecord: the record cannot be read, does not have every clip exactly once, or its
            files are not there as it says.
    """
    try:
        part = ShardRecord(**json.loads(path.read_bytes()))
        _check_clips(part, clips)
        _check_files(part, shards_dir / f"{shard_name(number)}.tar")
    except FileNotFoundError as error:
        raise DamagedRecord(f"{Path(error.filename).name} is missing") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedRecord(f"its record cannot be read ({type(error).__name__})") from None
    return part


def _check_clips(part: ShardRecord, clips: list[PlannedClip]) -> None:
    """Each planned clip once, in a row or rejected; `rows` in the planned order, so that keys are
    those of the plan.
    """
    found = Counter([row["clip"] for row in part.rows] + list(part.rejects))
    missing = sum(clip.columns["clip"] not in found for clip in clips)
    twice = sum(count > 1 for count in found.values())
    unknown = len(found.keys() - {clip.columns["clip"] for clip in clips})
    if missing or twice or unknown:
        raise DamagedRecord(
            f"{missing} of its {len(clips)} clips are missing, {twice} are there twice, {unknown} "
            "are "
            "not of it"
        )
    keys = [clip.key for clip in clips if clip.columns["clip"] not in part.rejects]
    if [row["key"] for row in part.rows] != keys:
        raise DamagedRecord("its keys are not those that were planned")


def _check_files(part: ShardRecord, tar: Path) -> None:
    if not part.rows:
        return
    last = part.rows[-1]
    size = tar.stat().st_size
    expected = _whole(
        _whole(last["offset"] + last["size"], tarfile.BLOCKSIZE) + 2 * tarfile.BLOCKSIZE,
        tarfile.RECORDSIZE,
    )
    if size != expected:
        raise DamagedRecord(f"{tar.name} has {size} bytes of {expected}")
    if tar.with_suffix(".idx").read_text(errors="replace") != index_text(part.rows):
        raise DamagedRecord(f"{tar.stem}.idx is not the index of its shard")


def _whole(size: int, block: int) -> int:
    """Bytes in whole blocks."""
    return -(-size // block) * block
