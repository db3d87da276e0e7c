"""MP4, MOV, AVI and MKV through FFmpeg."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.sources.grey_levels import on_black
from bsou_dist.sources.raw_clip import (
    RawClip,
    UnreadableClip,
    checked_aspect,
    even_in_time,
    part_of,
)
from bsou_dist.sources.video_luma import luma_of_grey

_MIN_DECODED_SHARE = 0.95  # a container may count a frame or two that an edit list hides
_UNKNOWN = float("nan")
_PROTOCOL = "file:"  # or FFmpeg would take what stands before a colon in a file name for one


class _Timetable(NamedTuple):
    """When each frame in the file is shown, and how many there should be."""

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
    try:
        with av.open(_PROTOCOL + str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # one process per core already
            width_over_height = stream.sample_aspect_ratio
            for frame in container.decode(stream):
                if decoded in wanted:
                    pixels, is_sideways = _turned(_pixels(frame, grey), frame)
                    frames.append(pixels)
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
        frames=_stacked(frames),
        source="video",
        source_frames=decoded if part is None else len(numbers),
        pixel_aspect=aspect if is_sideways else 1 / aspect,
    )


def _timetable(path: Path) -> _Timetable:
    """Read the index; where it states no number of frames, those that are there count."""
    try:
        with av.open(_PROTOCOL + str(path)) as container:
            if not container.streams.video:
                raise UnreadableClip("a video file without a picture")
            stream = container.streams.video[0]
            packets = (packet for packet in container.demux(stream) if packet.size > 0)
            spans_s = sorted(_start_and_duration_s(packet) for packet in packets)
            stated = stream.frames or len(spans_s)
            is_only_stream = len(container.streams) == 1
            if not stream.frames and is_only_stream and container.duration and spans_s:
                # Matroska counts no frames, but says how long they last.
                share_there = sum(spans_s[-1]) * av.time_base / container.duration
                if 0 < share_there < 1:
                    stated = round(len(spans_s) / share_there)
    except MemoryError:
        raise
    except av.FFmpegError:
        raise UnreadableClip("truncated or damaged video: its index cannot be read") from None
    if stated < 1:
        raise UnreadableClip("a video file without a picture")
    return _Timetable([start_s for start_s, _ in spans_s], stated)


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


def _turned(pixels: NDArray[np.uint8], frame: av.VideoFrame) -> tuple[NDArray[np.uint8], bool]:
    """The frame as its display matrix shows it, and whether that swaps width and height."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels, False
    # Across becomes a * across + c * down, and down becomes b * across + d * down.
    a, b, _, c, d = np.frombuffer(bytes(matrix), "<i4", 5)
    is_sideways = bool(abs(int(b)) > abs(int(a)))
    if is_sideways:
        pixels = pixels.swapaxes(0, 1)
        across, down = c, b
    else:
        across, down = a, d
    row_step = -1 if down < 0 else 1
    column_step = -1 if across < 0 else 1
    return pixels[::row_step, ::column_step], is_sideways


def _stacked(frames: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Frames as one array, all in RGB if some are; UnreadableClip if they differ in size."""
    if len({frame.ndim for frame in frames}) > 1:  # colours came up or went
        frames = [frame if frame.ndim == 3 else _rgb_of_grey(frame) for frame in frames]
    if len({frame.shape for frame in frames}) > 1:
        raise UnreadableClip("a video whose picture changes its size")
    return np.stack(frames)


def _rgb_of_grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(frame[..., None], 3, axis=2)
