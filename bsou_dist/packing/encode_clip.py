"""One clip from its file to the bytes at rest, as a worker process does it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.packing.shard_record import GIVEN_UP
from bsou_dist.prepare.prepare_clip import PrepareConfig, RejectedClip, prepare
from bsou_dist.shards.codec import Codec, encode_frames
from bsou_dist.shards.manifest import joined_notes
from bsou_dist.sources.raw_clip import UnreachableClip, UnreadableClip
from bsou_dist.sources.read_clip import read_clip, refuse_outside


class PackConfig(StrictConfig):
    """How a cohort is packed.

    Preparation, codec ('jpeg' or 'h264' with its quality), and rows of the cohort per shard.
    """

    prepare: PrepareConfig = PrepareConfig()
    codec: Codec = "jpeg"
    jpeg_quality: int = Field(default=90, ge=1, le=95)
    crf: int = Field(default=18, ge=1, le=51)
    shard_clips: int = Field(default=256, ge=1)


@dataclass(frozen=True)
class EncodedClip:
    """A clip at rest; `record` is its JSON member, but for key and sweep."""

    record: dict[str, Any]
    data: bytes
    sha256: str


EncodeRequest = tuple[Path, str, float | None]
"""A clip to encode: the cohort's folder, a path in it, and the spacing of the table or None."""


def encode_clip(request: EncodeRequest, config: PackConfig) -> EncodedClip | str:
    """Read, prepare and encode a clip; a text says why it is rejected.

    Raises:
        MemoryError: the clip needs more memory than this process may take.
    """
    root, path, mm_per_px = request
    try:
        refuse_outside(root / path, root)
        raw = read_clip(root / path, config.prepare.max_frames, config.prepare.mm_per_px)
        clip = prepare(raw, config.prepare, mm_per_px)
        data, frame_offsets = encode_frames(
            clip.frames, config.codec, jpeg_quality=config.jpeg_quality, crf=config.crf
        )
    except UnreachableClip as error:
        return f"{GIVEN_UP}: {error}"
    except UnreadableClip as error:
        return f"unreadable: {error}"
    except RejectedClip as error:
        return str(error)
    except MemoryError:
        raise
    except Exception as error:
        # Among a million clips one will find a bug. Its text may quote the header: type alone.
        return f"unreadable: it cannot be prepared ({type(error).__name__})"

    count, height, width = clip.frames.shape
    record: dict[str, Any] = {
        "codec": config.codec,
        "frames": count,
        "height": height,
        "width": width,
        "mm_per_px": clip.mm_per_px,
        "scale_source": clip.scale_source,
        "notes": joined_notes(clip.notes),
    }
    if frame_offsets is not None:
        record["frame_offsets"] = frame_offsets
    sha256 = hashlib.sha256(data).hexdigest()
    return EncodedClip(record, data, sha256)
