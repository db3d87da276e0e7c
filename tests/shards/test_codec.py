from __future__ import annotations

import numpy as np
import pytest
from fan_clips import fan_frames

from bsou_dist.shards.codec import Codec, CorruptClip, can_encode, decode_frames, encode_frames

FRAMES = fan_frames(count=20)[:, :64, 20:92]


def encoded(codec: Codec) -> tuple[bytes, dict[str, object]]:
    data, offsets = encode_frames(FRAMES, codec, jpeg_quality=90, crf=12)
    return data, {"codec": codec, "frames": 20, "height": 64, "width": 72, "frame_offsets": offsets}


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_frames_wanted_come_in_the_order_wanted(codec: Codec) -> None:
    data, meta = encoded(codec)
    decoded = decode_frames(data, meta, np.array([19, 0, 7, 7]))
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - FRAMES[[19, 0, 7, 7]]).mean() < 4
    assert decode_frames(data, meta, []).shape == (0, 64, 72)


def test_h264_keeps_black_and_white() -> None:
    frames = np.zeros((4, 32, 32), np.uint8)
    frames[:, :, 16:] = 255
    data, _ = encode_frames(frames, "h264", jpeg_quality=90, crf=12)
    meta = {"codec": "h264", "frames": 4, "height": 32, "width": 32}
    decoded = decode_frames(data, meta, range(4))
    assert np.abs(decoded.astype(int) - frames).max() <= 2


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_damaged_bytes_are_told(codec: Codec) -> None:
    data, meta = encoded(codec)
    for damaged in (b"", data[: len(data) // 2], bytes(len(data))):
        with pytest.raises(CorruptClip):
            decode_frames(damaged, meta, [19])
    with pytest.raises(CorruptClip, match="not \\(64, 70\\)"):
        decode_frames(data, {**meta, "width": 70}, [0])


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_a_picture_larger_than_its_record_says_is_not_decoded(codec: Codec) -> None:
    data, meta = encoded(codec)
    with pytest.raises(CorruptClip, match=r"holds a picture|not an H.264"):
        decode_frames(data, {**meta, "height": 16, "width": 16}, [0])


def test_sides_and_memory_have_limits() -> None:
    data, meta = encoded("jpeg")
    with pytest.raises(CorruptClip, match="a side has 4096 px at most"):
        decode_frames(data, {**meta, "height": 60_000}, [0])
    with pytest.raises(CorruptClip, match="bytes that are decoded at once"):
        decode_frames(data, {**meta, "height": 4096, "width": 4096}, [0] * 257)


def test_h264_is_refused_where_there_is_no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_encode("h264")
    monkeypatch.setattr("av.codecs_available", {"h264", "mjpeg"})
    assert can_encode("jpeg")
    assert not can_encode("h264")
