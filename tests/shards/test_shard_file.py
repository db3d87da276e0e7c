"""Any WebDataset reader, DALI and the plain decoder can open a shard."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import webdataset
from fan_clips import fan_frames
from PIL import Image
from wds2idx import IndexCreator

from bsou_dist.shards.codec import Codec, CorruptClip, decode_frames, encode_frames
from bsou_dist.shards.manifest import read_manifest, read_member

Packed = tuple[Path, Path]
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
    decoded = decode_frames(
        data, {"codec": "h264", "frames": 4, "height": 32, "width": 32}, range(4)
    )
    assert np.abs(decoded.astype(int) - frames).max() <= 2


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_damaged_bytes_are_told(codec: Codec) -> None:
    data, meta = encoded(codec)
    for damaged in (b"", data[: len(data) // 2], bytes(len(data))):
        with pytest.raises(CorruptClip):
            decode_frames(damaged, meta, [19])
    with pytest.raises(CorruptClip, match="not \\(64, 70\\)"):
        decode_frames(data, {**meta, "width": 70}, [0])


def test_a_jpeg_clip_is_plain_pictures_at_its_offsets(packed: Packed) -> None:
    row = read_manifest(packed[0]).loc[5]
    record, data = read_member(packed[0], row)
    offsets = record["frame_offsets"]
    assert len(offsets) == record["frames"] + 1
    assert offsets[-1] == len(data) == row["size"]
    for start, end in pairwise(offsets):
        assert Image.open(io.BytesIO(data[start:end])).mode == "L"


def test_index_is_that_of_wds2idx(packed: Packed, tmp_path: Path) -> None:
    for shard in packed[0].glob("*.tar"):
        with IndexCreator(str(shard), str(tmp_path / "idx"), verbose=False) as creator:
            creator.create_index()
        assert (tmp_path / "idx").read_text() == shard.with_suffix(".idx").read_text()


def test_webdataset_reads_every_sample(packed: Packed) -> None:
    manifest = read_manifest(packed[0])
    shards = sorted(str(path) for path in packed[0].glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == manifest["key"].tolist()
    for sample, (_, row) in zip(samples, manifest.iterrows(), strict=True):
        record, data = read_member(packed[0], row)
        assert sample["mjpeg"] == data
        assert json.loads(sample["json"]) == record


def test_dali_reads_a_shard(packed: Packed) -> None:
    dali = pytest.importorskip("nvidia.dali", reason="DALI is not installed")
    from nvidia.dali import fn

    shard = packed[0] / "000001.tar"
    pipeline = dali.Pipeline(batch_size=4, num_threads=1, device_id=None)
    with pipeline:
        pipeline.set_outputs(
            fn.readers.webdataset(
                paths=[str(shard)],
                index_paths=[str(shard.with_suffix(".idx"))],
                ext=["mjpeg"],
                missing_component_behavior="error",
            )
        )
    (batch,) = pipeline.run()
    rows = read_manifest(packed[0]).query("shard == '000001.tar'")
    expected = [read_member(packed[0], row)[1] for _, row in rows.iterrows()]
    assert [batch.at(place).tobytes() for place in range(4)] == expected
