"""MP4, MOV, AVI and MKV through FFmpeg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from bsou_dist.sources.raw_clip import (
    RawClip,
    UnreadableClip,
    checked_aspect,
    even_in_time,
    on_black,
)
from bsou_dist.sources.video_luma import luma_of_grey

_MIN_DECODED_SHARE = 0.95  # a container may count a frame or two that an edit list hides
_NEVER = float("nan")
_PROTOCOL = "file:"  # or FFmpeg would take what stands before a colon in a file name for one


def read_video(path: Path, max_frames: int | None = None, *, grey: bool = False) -> RawClip:
    """Read the first video stream as a player would show it; a video has no spacing of its own.

    Rotated and mirrored as its display matrix says, what is transparent on black, of interlaced
    frames one field. With `grey`, a clip that shows no colour but for small marks comes as its
    luma.

    Raises:
        UnreadableClip: no index, no picture, or fewer frames than the container states.
    """
    times_s, stated = _timetable(path)
    wanted = set(even_in_time(times_s, max_frames))
    frames = []
    decoded = 0
    sideways = False
    try:
        with av.open(_PROTOCOL + str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # one process per core already
            ratio = stream.sample_aspect_ratio
            for frame in container.decode(stream):
                if decoded in wanted:
                    shown, sideways = _turned(_pixels(frame, grey), frame)
                    frames.append(shown)
                decoded += 1
    except MemoryError:
        raise
    except av.FFmpegError:
        decoded = min(decoded, stated - 1)
    if decoded < stated * _MIN_DECODED_SHARE or not frames:
        raise UnreadableClip(
            f"truncated or damaged video: {decoded} of {stated} frames can be decoded"
        )
    if len({shown.ndim for shown in frames}) > 1:  # colours came up or went
        frames = [
            shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2) for shown in frames
        ]
    if len({frame.shape for frame in frames}) > 1:
        raise UnreadableClip("a video whose picture changes its size")
    aspect = checked_aspect(float(ratio) if ratio else 1.0)  # FFmpeg's is width over height
    return RawClip(
        np.stack(frames), "video", decoded, pixel_aspect=aspect if sideways else 1 / aspect
    )


def _timetable(path: Path) -> tuple[list[float], int]:
    """When each frame is shown, and how many frames the index states, or where it states none,
    there are.
    """
    try:
        with av.open(_PROTOCOL + str(path)) as container:
            if not container.streams.video:
                raise UnreadableClip("a video file without a picture")
            stream = container.streams.video[0]
            spans_s = sorted(
                (
                    _NEVER if packet.pts is None else float(packet.pts * packet.time_base),
                    float((packet.duration or 0) * packet.time_base),
                )
                for packet in container.demux(stream)
                if packet.size > 0
            )
            stated = stream.frames or len(spans_s)
            if not stream.frames and len(container.streams) == 1 and container.duration and spans_s:
                # Matroska counts no frames, but says how long they last.
                share = sum(spans_s[-1]) * av.time_base / container.duration
                stated = round(len(spans_s) / share) if 0 < share < 1 else stated
    except MemoryError:
        raise
    except av.FFmpegError:
        raise UnreadableClip("truncated or damaged video: its index cannot be read") from None
    if stated < 1:
        raise UnreadableClip("a video file without a picture")
    return [start_s for start_s, _ in spans_s], stated


def _pixels(frame: av.VideoFrame, grey: bool) -> NDArray[np.uint8]:
    """uint8, (H, W) or (H, W, 3)."""
    if frame.format.has_palette or any(component.is_alpha for component in frame.format.components):
        pixels = on_black(frame.to_ndarray(format="rgba").astype(np.uint8, copy=False))
    elif grey and (luma := luma_of_grey(frame)) is not None:
        pixels = luma
    else:
        one_component = len(frame.format.components) == 1
        pixels = frame.to_ndarray(format="gray" if one_component else "rgb24").astype(
            np.uint8, copy=False
        )
    return _one_field(pixels) if frame.interlaced_frame else pixels


def _one_field(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every second line, and between them their means: the lines left out were taken at another
    moment.
    """
    whole = pixels.copy()
    field = pixels[::2].astype(np.uint16)
    between = whole[1 : 2 * len(field) - 1 : 2]
    between[:] = (field[:-1] + field[1:] + 1) // 2
    if len(whole) % 2 == 0:
        whole[-1] = whole[-2]
    return whole


def _turned(pixels: NDArray[np.uint8], frame: av.VideoFrame) -> tuple[NDArray[np.uint8], bool]:
    """As the frame's display matrix shows it, and whether that swaps width and height."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels, False
    # Across becomes a * across + c * down, and down becomes b * across + d * down.
    a, b, _, c, d = np.frombuffer(bytes(matrix), "<i4", 5)
    sideways = bool(abs(int(b)) > abs(int(a)))
    if sideways:
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    return pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1], sideways
