"""Any WebDataset reader, DALI and plain offsets can open a shard."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path

import pytest
import webdataset
from PIL import Image
from wds2idx import IndexCreator

from bsou_dist.shards.manifest import read_manifest, read_member

Packed = tuple[Path, Path]


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
