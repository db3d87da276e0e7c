"""MP4, MOV, AVI and MKV through FFmpeg."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from bsou_dist.shards.raw import RawClip, UnreadableClip, even_indices

_MIN_DECODED_SHARE = 0.95  # a container may count a frame or two that an edit list hides
_PROTOCOL = "file:"  # or FFmpeg would take what stands before a colon in a file name for one


def read_video(path: Path, max_frames: int | None = None) -> RawClip:
    """Read the first video stream; a video has no spacing of its own.

    Raises:
        UnreadableClip: no index, no picture, or fewer frames than the container states.
    """
    stated = _stated_frames(path)
    wanted = set(even_indices(stated, max_frames))
    frames = []
    decoded = 0
    try:
        with av.open(_PROTOCOL + str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # one process per core already
            ratio = stream.sample_aspect_ratio
            grey = stream.codec_context.pix_fmt == "gray"
            for frame in container.decode(stream):
                if decoded in wanted:
                    frames.append(frame.to_ndarray(format="gray" if grey else "rgb24"))
                decoded += 1
    except av.FFmpegError:
        decoded = min(decoded, stated - 1)
    if decoded < stated * _MIN_DECODED_SHARE or not frames:
        raise UnreadableClip(f"truncated or damaged video: {decoded} of {stated} frames can be decoded")
    return RawClip(np.stack(frames), "video", decoded, pixel_aspect=float(1 / ratio) if ratio else 1.0)


def _stated_frames(path: Path) -> int:
    """Frames that the index states, or where it has none, packets in the file."""
    try:
        with av.open(_PROTOCOL + str(path)) as container:
            if not container.streams.video:
                raise UnreadableClip("a video file without a picture")
            stream = container.streams.video[0]
            stated = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
    except av.FFmpegError:
        raise UnreadableClip("truncated or damaged video: its index cannot be read") from None
    if stated < 1:
        raise UnreadableClip("a video file without a picture")
    return stated
