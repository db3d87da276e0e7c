"""Which of several regions is the B-mode picture, and how much of it."""

from __future__ import annotations

import itertools

import pytest
from pydicom.dataset import Dataset

from bsou_dist.sources.dicom_regions import chosen_region
from bsou_dist.sources.raw_clip import Region

TWO_D, M_MODE, SPECTRAL, WAVEFORM = 1, 2, 3, 4
TISSUE, FLOW, PULSED_WAVE, ECG = 1, 2, 3, 9
LOW_PRIORITY = 1


def region(
    box: tuple[int, int, int, int], spatial_format: int, data_type: int, flags: int = 0
) -> Dataset:
    """A region of a frame of 640 by 480 pixels; its maxima are exclusive here."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = spatial_format, data_type
    item.RegionFlags = flags
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box[0], box[1]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box[2] - 1, box[3] - 1
    return item


def choice(*regions: Dataset) -> Region | None:
    """The region chosen, which must not depend on the order of the items."""
    chosen = set()
    for order in itertools.permutations(regions):
        header = Dataset()
        header.Rows, header.Columns = 480, 640
        header.SequenceOfUltrasoundRegions = list(order)
        chosen.add(chosen_region(header).region)
    [only] = chosen
    return only


LEFT, RIGHT = (0, 0, 200, 480), (200, 0, 640, 480)
TOP, BOTTOM = (0, 0, 640, 180), (0, 180, 640, 480)
WHOLE = (0, 0, 640, 480)


@pytest.mark.parametrize(
    ("tissue", "other"), [(LEFT, RIGHT), (RIGHT, LEFT), (TOP, BOTTOM), (BOTTOM, TOP)]
)
@pytest.mark.parametrize(
    ("spatial_format", "data_type"),
    [(TWO_D, FLOW), (SPECTRAL, PULSED_WAVE), (M_MODE, TISSUE), (WAVEFORM, ECG)],
)
def test_tissue_counts_wherever_it_stands_and_however_large_the_other_is(
    tissue: tuple[int, int, int, int],
    other: tuple[int, int, int, int],
    spatial_format: int,
    data_type: int,
) -> None:
    regions = [region(tissue, TWO_D, TISSUE), region(other, spatial_format, data_type)]
    assert choice(*regions) == Region(*tissue)


@pytest.mark.parametrize(("plain", "coloured"), [(LEFT, RIGHT), (RIGHT, LEFT)])
def test_of_two_halves_of_tissue_the_one_without_flow_counts(
    plain: tuple[int, int, int, int], coloured: tuple[int, int, int, int]
) -> None:
    x0, _, x1, _ = coloured
    box = region((x0 + 50, 100, x1 - 50, 300), TWO_D, FLOW)
    halves = [region(plain, TWO_D, TISSUE), region(coloured, TWO_D, TISSUE)]
    assert choice(*halves, box) == Region(*plain)


def test_a_box_of_flow_leaves_the_whole_picture() -> None:
    box = region((0, 200, 640, 480), TWO_D, FLOW)
    assert choice(region(WHOLE, TWO_D, TISSUE), box) == Region(*WHOLE)


@pytest.mark.parametrize(
    ("trace", "rest"), [(BOTTOM, TOP), (TOP, BOTTOM), (LEFT, RIGHT), (RIGHT, LEFT)]
)
def test_a_trace_over_the_picture_is_cut_off(
    trace: tuple[int, int, int, int], rest: tuple[int, int, int, int]
) -> None:
    picture = region(WHOLE, TWO_D, TISSUE)
    assert choice(picture, region(trace, SPECTRAL, PULSED_WAVE)) == Region(*rest)
    under = region(trace, SPECTRAL, PULSED_WAVE, LOW_PRIORITY)
    assert choice(picture, under) == Region(*WHOLE)
    both_low = region(WHOLE, TWO_D, TISSUE, LOW_PRIORITY)
    assert choice(both_low, under) == Region(*rest)


def test_what_covers_all_or_the_middle_cuts_nothing() -> None:
    picture = region(WHOLE, TWO_D, TISSUE)
    assert choice(picture, region(WHOLE, SPECTRAL, PULSED_WAVE)) == Region(*WHOLE)
    assert choice(picture, region((50, 50, 90, 90), WAVEFORM, ECG)) == Region(*WHOLE)


def test_an_edge_that_both_count_is_no_overlap() -> None:
    flow = region((0, 0, 202, 480), TWO_D, FLOW)
    large = region((200, 0, 500, 480), TWO_D, TISSUE)
    small = region((520, 0, 640, 480), TWO_D, TISSUE)
    assert choice(flow, large, small) == Region(200, 0, 500, 480)


def test_flow_alone_is_still_the_picture() -> None:
    assert choice(region(LEFT, TWO_D, FLOW)) == Region(*LEFT)
    unsaid = region(LEFT, TWO_D, 0)
    assert choice(unsaid, region(RIGHT, TWO_D, FLOW)) == Region(*LEFT)


def test_notes_say_what_was_chosen_among_and_what_is_mirrored() -> None:
    header = Dataset()
    header.Rows, header.Columns = 480, 640
    mirrored = region(RIGHT, TWO_D, TISSUE)
    mirrored.PhysicalDeltaX = mirrored.PhysicalDeltaY = -0.05
    header.SequenceOfUltrasoundRegions = [region(LEFT, TWO_D, TISSUE), mirrored]
    kinds = [note.split(": ")[0] for note in chosen_region(header).notes]
    assert kinds == ["regions", "orientation", "orientation"]
