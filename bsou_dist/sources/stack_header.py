"""What the header of a stack of frames, MetaImage or NRRD, says about its pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from bsou_dist.sources.orientation import AS_STORED, Orientation
from bsou_dist.sources.raw_clip import UnreadableClip, checked_mm_per_px
from bsou_dist.sources.stated_spacing import StatedSpacing

Axis = Literal["frame", "row", "column", "channel"]
Encoding = Literal["raw", "deflate", "bzip2", "text"]

MM_PER_UNIT = {
    "m": 1000.0,
    "cm": 10.0,
    "mm": 1.0,
    "um": 0.001,
    "µm": 0.001,
    "μm": 0.001,  # the Greek letter, and the sign above
    "micron": 0.001,
}

_MAX_CHANNELS = 4
_MAX_HEADER_BYTES = 64 << 20  # ten thousands of frames, each with the place of every tracked tool
_MAX_LINE_BYTES = 1 << 20
_SPACE_AND_FRAMES: tuple[Axis, ...] = ("column", "row", "frame")
_KINDS_OF_SPACE = ("domain", "space")
_AXIS_OF_KIND: dict[str, Axis] = {
    "list": "frame",
    "time": "frame",
    "scalar": "channel",
    "vector": "channel",
    "2-vector": "channel",
    "3-vector": "channel",
    "4-vector": "channel",
    "3-color": "channel",
    "4-color": "channel",
    "rgb-color": "channel",
    "rgba-color": "channel",
}
_LEADS_ELSEWHERE = ("/", "\\", "%", "\0")  # a path, or a pattern of several files


@dataclass(frozen=True)
class StackHeader:
    """How the pixels of a stack lie in its file, and how large one is.

    Attributes:
        axes: the axes and their lengths, from the one whose neighbours lie farthest apart to the
            one whose neighbours lie side by side. Frame, row and column occur once each.
        dtype: type of a number at rest, byte order included.
        encoding: how the numbers are written; 'deflate' is a zlib or gzip stream.
        pixel_file: the file with the pixels.
        offset: where they begin in it, in bytes; None where they are its last bytes.
        packed_bytes: how many bytes of it they take, where they are packed and the header says so.
        spacings: what the header says of the distance of columns and of rows, most trusted first.
        orientation: what turns the stored frames into what a screen shows.
        notes: what in the header contradicts that.
    """

    axes: tuple[tuple[Axis, int], ...]
    dtype: np.dtype
    encoding: Encoding
    pixel_file: Path
    offset: int | None
    packed_bytes: int | None = None
    spacings: tuple[StatedSpacing, ...] = ()
    orientation: Orientation = AS_STORED
    notes: tuple[str, ...] = ()

    def length(self, axis: Axis) -> int:
        """The length of an axis; 1 where the stack has no such axis."""
        return dict(self.axes).get(axis, 1)

    @property
    def claimed_bytes(self) -> int:
        """Size of all pixels in memory."""
        return math.prod(length for _, length in self.axes) * self.dtype.itemsize


def header_lines(path: Path) -> Iterator[tuple[str, int]]:
    """The lines of a file without their ends, each with the place in the file where it ends.

    Raises:
        UnreadableClip: more of them are asked for than any header has.
    """
    with path.open("rb") as file:
        end = 0
        while line := file.readline(_MAX_LINE_BYTES):
            end += len(line)
            if len(line) == _MAX_LINE_BYTES or end > _MAX_HEADER_BYTES:
                limit_mb = _MAX_HEADER_BYTES >> 20
                raise UnreadableClip(f"its header does not end within {limit_mb} MB")
            yield line.decode("utf-8", "surrogateescape").strip(), end


def whole_numbers(text: str) -> list[int]:
    """The numbers of a header's value.

    Raises:
        UnreadableClip: it holds anything else.
    """
    try:
        return [int(word) for word in text.split()]
    except ValueError:
        raise UnreadableClip("its header's sizes are not whole numbers") from None


def axis_places(lengths: Sequence[int], kinds: Sequence[str]) -> dict[Axis, int]:
    """Tell which axis of a stack is which.

    Args:
        lengths: from the axis whose neighbours lie side by side on.
        kinds: what the header says of each, in the words of NRRD ('domain', 'list', 'vector');
            anything else, or nothing, where it does not say.

    Returns:
        The place of each axis among `lengths`. An axis of one slice may be none of them.

    Raises:
        UnreadableClip: it is no stack of frames of 1 to 4 channels.
    """
    not_a_stack = UnreadableClip(
        f"{len(lengths)} axes of {lengths[:6]} values, not a stack of frames of 1 to 4 channels"
    )
    places: dict[Axis, int] = {}
    for place, kind in enumerate(kinds[: len(lengths)]):
        axis = _AXIS_OF_KIND.get(kind.lower())
        if axis in places:
            raise not_a_stack
        if axis is not None:
            places[axis] = place
    unnamed = [place for place in range(len(lengths)) if place not in places.values()]
    wanted: tuple[Axis, ...] = ("column", "row") if "frame" in places else _SPACE_AND_FRAMES
    if len(unnamed) == len(wanted) + 1:
        of_space = [place for place, kind in enumerate(kinds) if kind.lower() in _KINDS_OF_SPACE]
        may_be_channels = []
        if "channel" not in places:
            short = [place for place in unnamed if lengths[place] <= _MAX_CHANNELS]
            may_be_channels = [place for place in short if place not in of_space]
        slices = [place for place in unnamed[2:] if lengths[place] == 1]
        if unnamed[0] in may_be_channels:
            places["channel"] = unnamed.pop(0)
        elif slices:
            unnamed.remove(slices[0])
        elif unnamed[-1] in may_be_channels:
            places["channel"] = unnamed.pop()
    channels = lengths[places["channel"]] if "channel" in places else 1
    if len(unnamed) != len(wanted) or channels > _MAX_CHANNELS:
        raise not_a_stack
    return places | dict(zip(wanted, unnamed, strict=True))


def axes_in_memory(places: dict[Axis, int], lengths: Sequence[int]) -> tuple[tuple[Axis, int], ...]:
    """The axes as `StackHeader` has them, from their places among `lengths`."""
    outermost_first = sorted(places, key=places.__getitem__, reverse=True)
    return tuple((axis, lengths[places[axis]]) for axis in outermost_first)


def known_spacings(
    pairs: Sequence[tuple[str, float | None, float | None]],
) -> tuple[StatedSpacing, ...]:
    """Spacings out of sources with the distances of columns and of rows in mm, None if unknown.

    Exactly 1 by 1 is what writers put where they know none, so it counts as unknown.
    """
    spacings = []
    for source, across_mm, down_mm in pairs:
        across_mm, down_mm = checked_mm_per_px(across_mm), checked_mm_per_px(down_mm)
        if across_mm is None or down_mm is None or (across_mm, down_mm) == (1.0, 1.0):
            continue
        spacings.append(StatedSpacing(source, across_mm, down_mm))
    return tuple(spacings)


def turned_to_frames(header: StackHeader, count: int | None) -> StackHeader | None:
    """The header with the axis of `count` values as that of the frames, where that is another one.

    Of the two axes left the longer is taken for the width, as pictures of a fan are wider than
    high. The spacing, which belongs to other axes than the header was read for, is unknown then.

    Returns:
        None where the frames are as many, or no single other axis has that length.
    """
    names = [name for name, _ in header.axes]
    lengths = dict(header.axes)
    in_picture: tuple[Axis, ...] = ("row", "column")
    others = [name for name in in_picture if lengths[name] == count]
    if count is None or header.length("frame") == count or len(others) != 1:
        return None
    frame_place = names.index(others[0])
    in_space = [
        place for place, name in enumerate(names) if name != "channel" and place != frame_place
    ]
    down, across = sorted(in_space, key=lambda place: header.axes[place][1])
    new_names: dict[int, Axis] = {frame_place: "frame", down: "row", across: "column"}
    axes = tuple(
        (new_names.get(place, name), length) for place, (name, length) in enumerate(header.axes)
    )
    return replace(header, axes=axes, spacings=())


def file_beside(path: Path, name: str) -> Path:
    """The file `name` beside `path`, in which its header says that the pixels are.

    A header may name any file of the machine, whose bytes would then be packed as a picture.

    Raises:
        UnreadableClip: it is elsewhere, a link, several files, the header itself, or not there.
    """
    beside = path.parent / name
    leads_elsewhere = any(mark in name for mark in _LEADS_ELSEWHERE) or name in ("", ".", "..")
    if leads_elsewhere or name.upper().startswith("LIST") or beside.is_symlink():
        raise UnreadableClip("its header names other files than one beside it")
    if beside == path:
        raise UnreadableClip("its header names itself as the file with its pixels")
    if not beside.is_file():
        # Its suffix alone, since its name may be a patient's.
        suffix = beside.suffix or "nameless"
        raise UnreadableClip(f"the {suffix} file with its pixels is not beside it")
    return beside
