"""DALI beside the plain decoder, and what either does with a damaged clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hostile_shards import huge_jpeg, with_picture

from bsou_dist.feed.decode.dali import MAX_PICTURES, DaliDecoder
from bsou_dist.feed.decode.reference import ReferenceDecoder
from bsou_dist.shards.manifest import read_member
from bsou_dist.shards.reader import ShardReader


def assert_close(
    found: list[torch.Tensor | Exception], expected: list[torch.Tensor | Exception], atol: float
) -> None:
    for got, wanted in zip(found, expected, strict=True):
        assert isinstance(got, torch.Tensor)
        assert isinstance(wanted, torch.Tensor)
        assert got.dtype == torch.uint8
        assert got.shape == wanted.shape
        assert (got.cpu().int() - wanted.int()).abs().max() <= atol


def test_reading_gives_what_the_plain_reader_gives(shards) -> None:
    folder, manifest = shards
    reader = ShardReader(folder, manifest)
    for row in range(len(manifest)):
        assert reader.read(row) == read_member(folder, manifest.iloc[row])


def test_dali_gives_what_the_reference_gives(requests) -> None:
    expected = ReferenceDecoder().decode(requests)
    decoder = DaliDecoder("jpeg", "cpu", 2)
    found = decoder.decode(requests)
    kept = [frames.clone() for frames in found if isinstance(frames, torch.Tensor)]
    assert_close(found, expected, atol=0)  # both are libjpeg-turbo with the accurate transform
    decoder.decode(requests[::-1])
    assert_close(found, [*kept], atol=0)  # not overwritten by the next run
    assert decoder.decode([]) == []


def test_dali_takes_more_pictures_than_its_largest_batch(requests) -> None:
    many = (requests * (MAX_PICTURES // 20))[: MAX_PICTURES // 2 + 60]
    assert sum(len(indices) for _, _, indices in many) > MAX_PICTURES
    assert_close(
        DaliDecoder("jpeg", "cpu", 1).decode(many), ReferenceDecoder().decode(many), atol=0
    )


@pytest.mark.parametrize("make", [ReferenceDecoder, lambda: DaliDecoder("jpeg", "cpu", 2)])
@pytest.mark.parametrize("damage", ["zeros", "cut", "empty", "no offsets"])
def test_one_bad_clip_does_not_harm_the_others(requests, make, damage: str) -> None:
    data, meta, indices = requests[4]
    bad = {
        "zeros": (b"\0" * len(data), meta, indices),
        "cut": (data[:40], meta, indices),
        "empty": (b"", meta, indices),
        "no offsets": (data, {**meta, "frame_offsets": [0]}, indices),
    }[damage]
    decoder = make()
    expected = ReferenceDecoder().decode(requests)
    results = decoder.decode([*requests[:4], bad, *requests[5:]])
    assert isinstance(results[4], Exception)
    assert_close(results[:4] + results[5:], expected[:4] + expected[5:], atol=0)
    assert_close(decoder.decode(requests), expected, atol=0)  # and the decoder goes on


def test_a_refused_header_among_many_pictures_does_not_end_the_process(requests) -> None:
    many = [(data, meta, np.arange(8)) for data, meta, _ in requests[:7]]
    data, meta, indices = many[3]
    many[3] = (b"\0" * (len(data) // 2) + data[len(data) // 2 :], meta, indices)
    decoder = DaliDecoder("jpeg", "cpu", 2)
    for _ in range(40):  # without `_meet_header` the process dies somewhere here
        results = decoder.decode(many)
        failed = [place for place, result in enumerate(results) if isinstance(result, Exception)]
        assert failed == [3]
        assert len(results) == 7


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nvjpeg_gives_nearly_what_the_reference_gives(requests) -> None:
    assert_close(
        DaliDecoder("jpeg", "cuda", 2).decode(requests), ReferenceDecoder().decode(requests), atol=2
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nvdec_gives_nearly_what_the_reference_gives(make_shards, tmp_path) -> None:
    reader = ShardReader(*make_shards(tmp_path, clips=6, side=128, codec="h264"))
    videos = [(data, meta, np.array([0, 3, 9])) for meta, data in map(reader.read, range(6))]
    assert_close(
        DaliDecoder("h264", "cuda", 2).decode(videos), ReferenceDecoder().decode(videos), atol=2
    )


def test_dali_does_not_see_a_picture_larger_than_its_record_says(requests) -> None:
    data, meta, indices = requests[4]
    first = np.array([0])
    results = DaliDecoder("jpeg", "cpu", 1).decode(
        [(data, meta, indices), (*with_picture(meta, data, huge_jpeg())[::-1], first)]
    )
    assert isinstance(results[0], torch.Tensor)
    assert "a picture of (60000, 60000), the record says" in str(results[1])
