"""Which spacing of a header counts, and which of several regions."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from bsou_dist.prepare.prepare_clip import PrepareConfig, prepare
from bsou_dist.sources.dicom_scale import stated_scale
from bsou_dist.sources.raw_clip import Region
from bsou_dist.sources.read_clip import read_clip


def header(**values: object) -> Dataset:
    """A header of 640 by 480 pixels without regions."""
    dataset = Dataset()
    dataset.Rows, dataset.Columns = 480, 640
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def region(x0: int, x1: int, *, mm: float = 0.5, data_type: int = 1, **values: object) -> Dataset:
    """A 2D region from column `x0` up to `x1`, all rows high."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = 1, data_type
    item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, 0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1 - 1, 479
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = mm / 10
    for name, value in values.items():
        setattr(item, name, value)
    return item


def pixel_measures(down_mm: float, across_mm: float) -> Sequence:
    measures = Dataset()
    measures.PixelSpacing = [down_mm, across_mm]
    groups = Dataset()
    groups.PixelMeasuresSequence = Sequence([measures])
    return Sequence([groups])


def test_the_most_trusted_spacing_counts() -> None:
    spacings = {
        "SequenceOfUltrasoundRegions": Sequence([region(0, 640, mm=0.5)]),
        "SharedFunctionalGroupsSequence": pixel_measures(0.6, 0.4),
        "PixelSpacing": [0.3, 0.3],
        "NominalScannedPixelSpacing": [0.2, 0.2],
    }
    expected = [(0.5, 1.0), (0.4, 1.5), (0.3, 1.0), (0.2, 1.0), (None, 1.0)]
    for mm_per_px, pixel_aspect in expected:
        found = stated_scale(header(**spacings))
        assert found.mm_per_px == (None if mm_per_px is None else pytest.approx(mm_per_px))
        assert found.pixel_aspect == pytest.approx(pixel_aspect)
        if spacings:
            del spacings[next(iter(spacings))]


def test_a_region_without_a_length_takes_the_frames() -> None:
    timed = region(0, 640, PhysicalUnitsXDirection=4)
    found = stated_scale(header(SequenceOfUltrasoundRegions=[timed], PixelSpacing=[0.3, 0.2]))
    assert found[:3] == (Region(0, 0, 640, 480), pytest.approx(0.2), pytest.approx(1.5))
    assert found.source == "PixelSpacing"


def test_pixels_of_unknown_size_may_still_not_be_square() -> None:
    found = stated_scale(header(PixelAspectRatio=["3", "2"]))
    assert (found.mm_per_px, found.pixel_aspect) == (None, pytest.approx(1.5))


@pytest.mark.parametrize("spacing", [[1, 1], [0, 0], [-0.2, 0.2], [9, 0.2], [], [0.2], 0.2, None])
def test_what_is_no_spacing_is_unknown(spacing: object) -> None:
    assert stated_scale(header(PixelSpacing=spacing)).mm_per_px is None


def test_after_scaling_nothing_is_trusted() -> None:
    left_over = region(0, 900)
    found = stated_scale(header(SequenceOfUltrasoundRegions=[left_over], PixelSpacing=[0.3, 0.3]))
    assert found[:4] == (None, None, 1.0, None)
    assert [note.split(": ")[0] for note in found.notes] == ["scale"]


@pytest.mark.parametrize(("tissue", "flow"), [((0, 200), (200, 640)), ((440, 640), (0, 440))])
def test_the_half_of_tissue_counts_wherever_it_stands(
    tissue: tuple[int, int], flow: tuple[int, int]
) -> None:
    regions = [region(*flow, mm=9.0, data_type=2), region(*tissue, mm=0.4)]
    for order in (regions, regions[::-1]):
        found = stated_scale(header(SequenceOfUltrasoundRegions=order))
        assert found.region == Region(tissue[0], 0, tissue[1], 480)
        assert found.mm_per_px == pytest.approx(0.4)


def test_regions_of_an_unsaid_type_count_by_size() -> None:
    regions = [region(0, 200, data_type=0), region(200, 640, data_type=0)]
    for item in regions:
        del item.RegionDataType
    found = stated_scale(header(SequenceOfUltrasoundRegions=regions))
    assert found.region == Region(200, 0, 640, 480)


@pytest.mark.parametrize("is_tall", [False, True])
def test_whatever_states_the_spacing_the_prepared_clip_is_the_same(
    dicom: Path, is_tall: bool
) -> None:
    dataset = pydicom.dcmread(dicom)
    down_mm = 1.5 if is_tall else 1.0
    shown = []
    for stated in ("region", "PixelSpacing"):
        changed = deepcopy(dataset)
        item = changed.SequenceOfUltrasoundRegions[0]
        item.PhysicalDeltaX, item.PhysicalDeltaY = 0.1001, down_mm / 10
        if stated == "PixelSpacing":
            del changed.SequenceOfUltrasoundRegions
            changed.PixelSpacing = [down_mm, 1.001]
        changed.save_as(dicom)
        clip = read_clip(dicom)
        assert (clip.mm_per_px, clip.pixel_aspect) == (
            pytest.approx(1.001),
            pytest.approx(down_mm / 1.001),
        )
        shown.append(prepare(clip, PrepareConfig(size_px=64, field_mm=200.0, max_frames=4)))
    of_region, of_frame = (clip.frames.astype(int) for clip in shown)
    np.testing.assert_array_equal(of_region, of_frame)


def test_statements_that_differ_are_noted_and_the_more_trusted_one_counts() -> None:
    found = stated_scale(
        header(
            SequenceOfUltrasoundRegions=[region(0, 640, mm=0.5)],
            SharedFunctionalGroupsSequence=pixel_measures(0.505, 0.505),  # within the tolerance
            PixelSpacing=[0.25, 0.25],
            NominalScannedPixelSpacing=[0.6, 0.5],
            PixelAspectRatio=[1, 1],
        )
    )
    assert (found.mm_per_px, found.source) == (pytest.approx(0.5), "ultrasound region")
    assert found.notes == (
        "scale: PixelSpacing says 0.5 times what ultrasound region says, which counts",
        "scale: NominalScannedPixelSpacing says 1.2 times what ultrasound region says, which "
        "counts",
    )


def test_a_ratio_that_contradicts_the_spacing_is_noted() -> None:
    found = stated_scale(header(PixelSpacing=[0.3, 0.3], PixelAspectRatio=[2, 1]))
    assert (found.mm_per_px, found.pixel_aspect) == (pytest.approx(0.3), 1.0)
    assert found.notes == ("scale: PixelAspectRatio contradicts PixelSpacing, which counts",)


def test_functional_groups_of_each_frame_count_where_they_agree() -> None:
    alike = [pixel_measures(0.3, 0.3)[0] for _ in range(3)]
    found = stated_scale(header(PerFrameFunctionalGroupsSequence=alike))
    assert (found.mm_per_px, found.source, found.notes) == (0.3, "functional groups", ())
    zoomed = [*alike, pixel_measures(0.2, 0.2)[0]]
    found = stated_scale(header(PerFrameFunctionalGroupsSequence=zoomed, PixelSpacing=[0.3, 0.3]))
    assert (found.mm_per_px, found.source) == (None, None)
    assert [note.split(": ")[0] for note in found.notes] == ["scale"]
    with_region = header(
        PerFrameFunctionalGroupsSequence=zoomed, SequenceOfUltrasoundRegions=[region(0, 640)]
    )
    assert stated_scale(with_region).source == "ultrasound region"
