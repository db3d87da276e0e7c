"""Clips to bytes and back: independent grey JPEG frames, or one H.264 video in MP4.

`decode_frames` is the plain reference that every faster decoder is held to.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bsou_dist.shards.jpeg_header import read_jpeg_header

Codec = Literal["jpeg", "h264"]
Encoded = bytes | memoryview
Indices = Sequence[int] | NDArray[np.int64]

EXTENSIONS: dict[Codec, str] = {"jpeg": "mjpeg", "h264": "mp4"}

MAX_SIDE_PX = 4096
"""Of a picture in a shard, twice what packing makes at most: none larger is decoded."""

MAX_DECODED_BYTES = 1 << 32
"""Of the frames that are decoded at once."""

# Of the MP4's clock only; frames at rest are evenly spread over a sweep of any length.
_FRAME_RATE_HZ = 30
_H264_ENCODER: Final = "libx264"
_KEYFRAME_EVERY = 16
_NEUTRAL_CHROMA = 128
_PADDING_PX = 128


def can_encode(codec: Codec) -> bool:
    """Whether this installation can; one whose FFmpeg is built without x264 writes no H.264."""
    return codec == "jpeg" or _H264_ENCODER in av.codecs_available


class CorruptClip(ValueError):
    """The bytes of a clip are not what its record says."""


def encode_frames(
    frames: NDArray[np.uint8], codec: Codec, *, jpeg_quality: int, crf: int
) -> tuple[bytes, list[int] | None]:
    """Encode grey frames (F, H, W); the same frames give the same bytes.

    Args:
        frames: uint8; height and width even for H.264.
        codec: 'jpeg' or 'h264'.
        jpeg_quality: Pillow's, 1 to 95.
        crf: x264's constant rate factor, 1 to 51; lower is better.

    Returns:
        The member's bytes, and for JPEG the offset of every frame followed by the end (F + 1
        numbers).
    """
    if codec == "h264":
        return _encode_h264(frames, crf), None
    buffer = io.BytesIO()
    offsets = [0]
    for frame in frames:
        Image.fromarray(frame).save(buffer, "JPEG", quality=jpeg_quality)
        offsets.append(buffer.tell())
    return buffer.getvalue(), offsets


def decode_frames(data: Encoded, meta: Mapping[str, Any], indices: Indices) -> NDArray[np.uint8]:
    """Decode the frames wanted, in the order wanted, on the CPU.

    Args:
        data: the clip member.
        meta: its JSON record.
        indices: frame numbers, each in 0..frames-1; may repeat.

    Returns:
        uint8 (len(indices), height, width).

    Raises:
        CorruptClip: the bytes cannot be decoded, or hold other frames than the record says.
    """
    shape = (meta["height"], meta["width"])
    assert all(0 <= index < meta["frames"] for index in indices), (list(indices), meta["frames"])
    _check_memory(len(indices), shape)
    wanted = {int(index) for index in indices}
    if meta["codec"] == "jpeg":
        pictures = _decode_jpeg(data, meta, wanted)
    else:
        pictures = _decode_h264(data, wanted, shape)
    frames = np.empty((len(indices), *shape), np.uint8)
    for position, index in enumerate(indices):
        picture = pictures.get(int(index))
        if picture is None or picture.shape != shape:
            found = "nothing" if picture is None else f"a picture of {picture.shape}"
            raise CorruptClip(f"frame {index} of {meta['frames']} holds {found}, not {shape}")
        frames[position] = picture
    return frames


def _check_memory(frames: int, shape: tuple[int, int]) -> None:
    """CorruptClip if so many frames of this height and width are more than a clip may be."""
    height, width = shape
    if not (0 < height <= MAX_SIDE_PX and 0 < width <= MAX_SIDE_PX):
        raise CorruptClip(f"pictures of {shape}; a side has {MAX_SIDE_PX} px at most")
    if frames * height * width > MAX_DECODED_BYTES:
        raise CorruptClip(
            f"{frames} frames of {shape} are more than the {MAX_DECODED_BYTES} bytes that are "
            "decoded at once"
        )


def _decode_jpeg(
    data: Encoded, meta: Mapping[str, Any], wanted: set[int]
) -> dict[int, NDArray[np.uint8]]:
    offsets = meta["frame_offsets"]
    shape = (meta["height"], meta["width"])
    pictures = {}
    for index in wanted:
        try:
            frame_bytes = data[offsets[index] : offsets[index + 1]]
            header = read_jpeg_header(frame_bytes)
            if header.shape != shape:
                raise CorruptClip(
                    f"frame {index} of {meta['frames']} holds a picture of {header.shape}, "
                    f"not {shape}"
                )
            with Image.open(io.BytesIO(frame_bytes), formats=["JPEG"]) as picture:
                pictures[index] = np.asarray(picture.convert("L"))
        except (CorruptClip, MemoryError):
            raise
        except Exception as error:  # damaged bytes make Pillow raise almost anything
            raise CorruptClip(f"frame {index} of {meta['frames']} is not a JPEG picture") from error
    return pictures


def _encode_h264(frames: NDArray[np.uint8], crf: int) -> bytes:
    """Full-range 4:2:0 with neutral chroma: the only grey that hardware decoders take."""
    height, width = frames.shape[1:]
    # One thread and no B-frames: the same bytes on any machine, and frames stored in the order
    # shown. 'bitexact' keeps times and library versions out of stream and container. x264's
    # vectorised macroblock tree sums in single precision: pictures narrower than its vectors came
    # out otherwise in 2 % of encodings that followed the reading of a video.
    options = {
        "crf": str(crf),
        "g": str(_KEYFRAME_EVERY),
        "bf": "0",
        "threads": "1",
        "x264-params": "cpu-independent=1",
        "flags": "+bitexact",
    }
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(_H264_ENCODER, rate=_FRAME_RATE_HZ, options=options)
        stream.height = height
        stream.width = width
        stream.pix_fmt = "yuvj420p"
        for frame in frames:
            # Below the luma lie the two planes of chroma, which together have half of its pixels.
            planes = np.full((height * 3 // 2, width), _NEUTRAL_CHROMA, np.uint8)
            planes[:height] = frame
            picture = av.VideoFrame.from_ndarray(planes, format="yuvj420p")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _decode_h264(
    data: Encoded, wanted: set[int], shape: tuple[int, int]
) -> dict[int, NDArray[np.uint8]]:
    pictures: dict[int, NDArray[np.uint8]] = {}
    last = max(wanted, default=-1)
    height, width = shape
    # FFmpeg compares it before it takes memory for a picture, which it pads to its own measure.
    limits = {"max_pixels": str((height + _PADDING_PX) * (width + _PADDING_PX))}
    try:
        with av.open(io.BytesIO(data), "r", format="mp4", options=limits) as container:
            decoder = container.streams.video[0].codec_context
            decoder.thread_count = 1
            decoder.options = limits
            for index, frame in enumerate(container.decode(video=0)):
                if index > last:
                    break
                if index in wanted:
                    luma = frame.to_ndarray()[: frame.height]
                    pictures[index] = np.asarray(luma, np.uint8)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes make PyAV raise almost anything
        raise CorruptClip("not an H.264 video in MP4") from error
    return pictures
