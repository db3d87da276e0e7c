"""The JSON record of a clip, checked before anything is done that it asks for.

Shards come from colleagues and downloads. What a record claims decides how much memory a decoder
takes and where in the bytes it looks, so that each claim has a type and a limit.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

from bsou_dist.shards.codec import EXTENSIONS, MAX_SIDE_PX, CorruptClip

MAX_RECORD_BYTES = 4 << 20
"""Of a JSON record: the offsets of some 400,000 frames."""

MAX_CLIP_BYTES = 1 << 30
"""Of a clip member, which is read into memory at once."""

_MAX_KEY_CHARACTERS = 100  # of a name in a tar


def parse_clip_record(text: bytes, clip_bytes: int) -> dict[str, Any]:
    """Parse and check the JSON member of a clip.

    Args:
        text: the member.
        clip_bytes: size of the clip member that it describes.

    Returns:
        The record: `key` and `codec` are text, `frames`, `height` and `width` whole numbers within
        limits, `mm_per_px` is a number or None, and a JPEG clip has its `frame_offsets`.

    Raises:
        CorruptClip: it is no such record; what it holds is not repeated.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise CorruptClip("its record is not JSON, or nested too deeply") from None
    if not isinstance(record, dict):
        raise CorruptClip(f"its record is a JSON {_json_name(record)}, not an object")
    _check_texts(record)
    _check_number(record, "frames", most=MAX_RECORD_BYTES)  # each has an offset in the record
    _check_number(record, "height", most=MAX_SIDE_PX)
    _check_number(record, "width", most=MAX_SIDE_PX)
    spacing = record.get("mm_per_px")
    if spacing is not None and not _is_spacing(spacing):
        raise CorruptClip("its record has mm_per_px that is neither a number above 0 nor null")
    if record["codec"] == "jpeg":
        _check_offsets(record, clip_bytes)
    return record


def _check_texts(record: dict[str, Any]) -> None:
    key = record.get("key")
    if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY_CHARACTERS:
        raise CorruptClip("its record has no key")
    sweep = record.get("sweep")
    if sweep is not None and not isinstance(sweep, str):
        raise CorruptClip("its record has a sweep that is neither text nor null")
    codec = record.get("codec")
    if not isinstance(codec, str) or codec not in EXTENSIONS:
        raise CorruptClip(f"its record has an unknown codec; known are {', '.join(EXTENSIONS)}")


def _check_number(record: dict[str, Any], name: str, *, most: int) -> None:
    if not _is_whole(record.get(name)) or not 1 <= record[name] <= most:
        raise CorruptClip(f"its record has {name} that is no whole number from 1 to {most}")


def _check_offsets(record: dict[str, Any], clip_bytes: int) -> None:
    offsets = record.get("frame_offsets")
    if not isinstance(offsets, list) or not all(map(_is_whole, offsets)):
        raise CorruptClip("its record has no frame offsets")
    frames = record["frames"]
    if len(offsets) != frames + 1:
        raise CorruptClip(f"its record has {len(offsets)} frame offsets, for {frames} frames")
    rises = all(start < stop for start, stop in pairwise(offsets))
    if offsets[0] != 0 or offsets[-1] != clip_bytes or not rises:
        raise CorruptClip(
            f"its record has frame offsets that do not rise from 0 to the clip's {clip_bytes} bytes"
        )


def _is_whole(value: object) -> bool:
    return type(value) is int  # not bool, which is an int to Python


def _is_spacing(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf  # type: ignore[operator]


def _json_name(value: object) -> str:
    names = {list: "list", str: "string", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")
