"""MP4, MOV, AVI, MKV and animated GIF through FFmpeg."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.sources.avi_chunks import empty_chunks
from bsou_dist.sources.grey_levels import on_black
from bsou_dist.sources.raw_clip import (
    RawClip,
    UnreadableClip,
    checked_aspect,
    even_in_time,
    part_of,
    stacked,
)
from bsou_dist.sources.video_luma import luma_of_grey

_MIN_DECODED_SHARE = 0.95  # a container may count a frame or two that its recorder never wrote
_MAX_OBLIQUENESS = 0.05  # of a matrix's larger entry; turned cameras write multiples of 90 degrees
_GIF_END = b";"
_GIF_TAIL_BYTES = 512
_UNKNOWN = float("nan")
_PROTOCOL = "file:"  # or FFmpeg would take what stands before a colon in a file name for one


class _Matrix(NamedTuple):
    """Across becomes a * across + c * down, and down becomes b * across + d * down."""

    a: int
    b: int
    c: int
    d: int


_UPRIGHT = _Matrix(1, 0, 0, 1)


class _Timetable(NamedTuple):
    """When each frame in the file is shown, and how many there should be.

    Frames that an edit list hides are none of them, nor are the empty chunks by which an AVI says
    that the frame before stays.
    """

    starts_s: list[float]
    stated_frames: int


def read_video(
    path: Path,
    max_frames: int | None = None,
    *,
    grey: bool = False,
    part: FrameRange | None = None,
) -> RawClip:
    """Read the first video stream as a player would show it; a video has no spacing of its own.

    It is rotated and mirrored as its display matrix says, what is transparent is on black, and
    interlaced frames show one of their fields. With `grey`, a clip that shows no colour but for
    small marks comes as its luma. Of a `part` its frames alone.

    Raises:
        UnreadableClip: no index, no picture, or fewer frames than the container states.
    """
    timetable = _timetable(path)
    stated = timetable.stated_frames
    numbers = part_of(len(timetable.starts_s), part)
    starts_s = timetable.starts_s[numbers.start : numbers.stop]
    wanted = {numbers[place] for place in even_in_time(starts_s, max_frames)}
    frames = []
    decoded = 0
    is_sideways = False
    notes: tuple[str, ...] = ()
    try:
        with av.open(_PROTOCOL + str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # one process per core already
            width_over_height = stream.sample_aspect_ratio
            for frame in container.decode(stream):
                if decoded in wanted:
                    matrix = _display_matrix(frame)
                    pixels, is_sideways = _turned(_pixels(frame, grey), matrix)
                    frames.append(pixels)
                    notes = _matrix_notes(matrix)
                decoded += 1
    except MemoryError:
        raise
    except av.FFmpegError:
        decoded = min(decoded, stated - 1)  # what failed is a frame, however many came
    if decoded < stated * _MIN_DECODED_SHARE or not frames:
        raise UnreadableClip(
            f"truncated or damaged video: {decoded} of {stated} frames can be decoded"
        )
    if part is not None and len(frames) < len(wanted):
        raise UnreadableClip(
            f"truncated or damaged video: {len(frames)} of the {len(wanted)} frames wanted of its "
            "part can be decoded"
        )
    aspect = checked_aspect(float(width_over_height) if width_over_height else 1.0)
    return RawClip(
        frames=stacked(frames),
        source="video",
        source_frames=decoded if part is None else len(numbers),
        pixel_aspect=aspect if is_sideways else 1 / aspect,
        notes=notes,
    )


def _timetable(path: Path) -> _Timetable:
    """Read the index; where it states no number of frames, those that are there count."""
    try:
        with av.open(_PROTOCOL + str(path)) as container:
            if not container.streams.video:
                raise UnreadableClip("a video file without a picture")
            stream = container.streams.video[0]
            spans_s = []
            hidden_frames = 0
            for packet in container.demux(stream):
                if packet.is_discard:
                    hidden_frames += 1
                elif packet.size > 0:
                    spans_s.append(_start_and_duration_s(packet))
            spans_s.sort()
            stated = stream.frames or len(spans_s)
            format_name, stream_index = container.format.name, stream.index
            is_only_stream = len(container.streams) == 1
            if not stream.frames and is_only_stream and container.duration and spans_s:
                # Matroska counts no frames, but says how long they last.
                share_there = sum(spans_s[-1]) * av.time_base / container.duration
                if 0 < share_there < 1:
                    stated = round(len(spans_s) / share_there)
        if "mp4" in format_name and _is_whole(path, len(spans_s) + hidden_frames, stated):
            stated = len(spans_s)
        if format_name == "avi":
            stated -= empty_chunks(path, stream_index)
        if format_name == "gif" and not _ends_as_gif(path):
            raise UnreadableClip("truncated or damaged video: it does not end as a GIF does")
    except MemoryError:
        raise
    except av.FFmpegError:
        raise UnreadableClip("truncated or damaged video: its index cannot be read") from None
    if stated < 1:
        raise UnreadableClip("a video file without a picture")
    return _Timetable([start_s for start_s, _ in spans_s], stated)


def _is_whole(path: Path, found_frames: int, stated_frames: int) -> bool:
    """Whether an MP4 or MOV holds all frames that its index counts, those hidden included."""
    if found_frames < stated_frames:  # an edit list may leave out some before they are found
        with av.open(_PROTOCOL + str(path), options={"ignore_editlist": "1"}) as container:
            packets = container.demux(container.streams.video[0])
            found_frames = sum(packet.size > 0 for packet in packets)
    return found_frames >= stated_frames * _MIN_DECODED_SHARE


def _ends_as_gif(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _GIF_TAIL_BYTES))
        return file.read().rstrip(b"\x00").endswith(_GIF_END)


def _start_and_duration_s(packet: av.Packet) -> tuple[float, float]:
    start_s = _UNKNOWN if packet.pts is None else float(packet.pts * packet.time_base)
    duration_s = float((packet.duration or 0) * packet.time_base)
    return start_s, duration_s


def _pixels(frame: av.VideoFrame, grey: bool) -> NDArray[np.uint8]:
    """A frame as its luma or in grey, uint8 (H, W), or in RGB, (H, W, 3)."""
    pixels = _luma_or_colours(frame, grey)
    return _one_field(pixels) if frame.interlaced_frame else pixels


def _luma_or_colours(frame: av.VideoFrame, grey: bool) -> NDArray[np.uint8]:
    components = frame.format.components
    if frame.format.has_palette or any(component.is_alpha for component in components):
        return on_black(frame.to_ndarray(format="rgba").astype(np.uint8, copy=False))
    luma = luma_of_grey(frame) if grey else None
    if luma is not None:
        return luma
    shown_format = "gray" if len(components) == 1 else "rgb24"
    return frame.to_ndarray(format=shown_format).astype(np.uint8, copy=False)


def _one_field(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every second line with means between; the lines left out were taken at another moment."""
    whole = pixels.copy()
    field = pixels[::2].astype(np.uint16)
    lines_between = whole[1 : 2 * len(field) - 1 : 2]
    lines_between[:] = (field[:-1] + field[1:] + 1) // 2
    if len(whole) % 2 == 0:
        whole[-1] = whole[-2]
    return whole


def _display_matrix(frame: av.VideoFrame) -> _Matrix:
    """The matrix by which a player shows a frame; that of an upright one where there is none."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return _UPRIGHT
    a, b, _, c, d = np.frombuffer(bytes(matrix), "<i4", 5).tolist()
    return _Matrix(a, b, c, d)


def _turned(pixels: NDArray[np.uint8], matrix: _Matrix) -> tuple[NDArray[np.uint8], bool]:
    """The frame as its display matrix shows it, and whether that swaps width and height."""
    is_sideways = abs(matrix.b) > abs(matrix.a)
    if is_sideways:
        pixels = pixels.swapaxes(0, 1)
        across, down = matrix.c, matrix.b
    else:
        across, down = matrix.a, matrix.d
    row_step = -1 if down < 0 else 1
    column_step = -1 if across < 0 else 1
    return pixels[::row_step, ::column_step], is_sideways


def _matrix_notes(matrix: _Matrix) -> tuple[str, ...]:
    """A note where a display matrix turns by anything but a multiple of 90 degrees."""
    smaller, larger = sorted((abs(matrix.a), abs(matrix.b)))
    if smaller <= larger * _MAX_OBLIQUENESS:
        return ()
    return ("orientation: the video is to be turned by an odd angle, and the nearest of 90 counts",)
