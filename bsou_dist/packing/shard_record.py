"""The record of one finished shard, and whether the shard is what the plan asks for."""

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
"""Class of the reasons that may pass.

The file could not be opened, took too long or too much memory, or its decoder crashed.
"""


class DamagedRecord(Exception):
    """A shard or its record is missing or not as planned; the message says what is wrong."""


@dataclass
class ShardRecord:
    """What one shard holds.

    Attributes:
        rows: manifest rows of its clips.
        rejects: why its other clips were rejected, by clip pseudonym.
        settled: whether clips that were given up have been tried a second time.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejects: dict[str, str] = field(default_factory=dict)
    settled: bool = False

    @property
    def given_up(self) -> set[str]:
        """Clips, by pseudonym, that another attempt may pack."""
        return {clip for clip, reason in self.rejects.items() if reason.startswith(GIVEN_UP)}

    @property
    def reject_share(self) -> float:
        """Share of its clips that were rejected."""
        return len(self.rejects) / (len(self.rows) + len(self.rejects))


def shard_name(number: int) -> str:
    """Name of the files of a shard, without their endings."""
    return f"{number:06d}"


def reason_class(reason: str) -> str:
    """Class of a reason for a reject, by which rejects are counted."""
    return reason.split(":")[0]


def write_record(path: Path, record: ShardRecord) -> None:
    """Record a shard as finished; its files must have their names by now."""
    write_text(path, json.dumps(asdict(record)))


def read_record(path: Path, shards_dir: Path, number: int, clips: list[PlannedClip]) -> ShardRecord:
    """Read what `write_record` recorded of shard `number`, which was planned to hold `clips`.

    Raises:
        DamagedRecord: the record cannot be read, does not have every clip exactly once, or its
            files are not as it says.
    """
    try:
        record = ShardRecord(**json.loads(path.read_bytes()))
        _check_clips(record, clips)
        _check_files(record, shards_dir / f"{shard_name(number)}.tar")
    except FileNotFoundError as error:
        raise DamagedRecord(f"{Path(error.filename).name} is missing") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # All that JSON of another shape can lead to.
        raise DamagedRecord(f"its record cannot be read ({type(error).__name__})") from None
    return record


def _check_clips(record: ShardRecord, clips: list[PlannedClip]) -> None:
    """DamagedRecord unless each planned clip is there once, in a row or rejected, in its order."""
    planned = {clip.pseudonym for clip in clips}
    packed = [row["clip"] for row in record.rows]
    times_found = Counter([*packed, *record.rejects])
    missing = len(planned - times_found.keys())
    twice = sum(times > 1 for times in times_found.values())
    unknown = len(times_found.keys() - planned)
    if missing or twice or unknown:
        raise DamagedRecord(
            f"{missing} of its {len(clips)} clips are missing, {twice} are there twice, {unknown} "
            "are not of it"
        )
    planned_keys = [clip.key for clip in clips if clip.pseudonym not in record.rejects]
    if [row["key"] for row in record.rows] != planned_keys:
        raise DamagedRecord("its keys are not those that were planned")


def _check_files(record: ShardRecord, tar: Path) -> None:
    """DamagedRecord unless tar and index have the size and content that the rows make them have."""
    if not record.rows:
        return
    last = record.rows[-1]
    size = tar.stat().st_size
    # A tar fills the block of its last member, adds two empty blocks and fills the last record.
    members_end = _round_up(last["offset"] + last["size"], tarfile.BLOCKSIZE)
    expected_size = _round_up(members_end + 2 * tarfile.BLOCKSIZE, tarfile.RECORDSIZE)
    if size != expected_size:
        raise DamagedRecord(f"{tar.name} has {size} bytes of {expected_size}")
    index = tar.with_suffix(".idx").read_text(errors="replace")
    if index != index_text(record.rows):
        raise DamagedRecord(f"{tar.stem}.idx is not the index of its shard")


def _round_up(size_bytes: int, block_bytes: int) -> int:
    """Size in whole blocks."""
    blocks, rest = divmod(size_bytes, block_bytes)
    return (blocks + (rest > 0)) * block_bytes
