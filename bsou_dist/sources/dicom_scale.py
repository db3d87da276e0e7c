"""Where in a DICOM frame the ultrasound picture is, and how large its pixels are.

An ultrasound region is trusted first: it is the scanner's own calibration of what it drew. Then
come the spacings that apply to the whole frame, from the most specific on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydicom.dataset import Dataset

from bsou_dist.sources.raw_clip import Region, checked_aspect, checked_mm_per_px

_TWO_DIMENSIONAL = 1  # Region Spatial Format, PS3.3 C.8.5.5.1.1
_TISSUE = 1  # Region Data Type, PS3.3 C.8.5.5.1.2: B-mode, and not colour flow or a trace
_CENTIMETRE = 3  # Physical Units, PS3.3 C.8.5.5.1.15
_MM_PER_CM = 10
_MIN_REGION_PX = 16
_SPACINGS = ("PixelSpacing", "NominalScannedPixelSpacing")  # of the whole frame, in mm
_UNKNOWN_MM = (1.0, 1.0)  # what writers put where they know none


class Scale(NamedTuple):
    """The picture's region, and the width of its pixels in mm and their height over it."""

    region: Region | None = None
    mm_per_px: float | None = None
    pixel_aspect: float = 1.0


def stated_scale(header: Dataset) -> Scale:
    """Region and pixel size as the header states them, nothing guessed.

    The region is the largest 2D region of tissue, or the largest of any 2D data where none is said
    to be of tissue. A region that leaves the frame describes another picture, since the clip was
    scaled after acquisition: nothing that the header says about size is trusted then.
    """
    width, height = int(header.Columns), int(header.Rows)
    items = [
        item
        for item in header.get("SequenceOfUltrasoundRegions") or []
        if item.get("RegionSpatialFormat") == _TWO_DIMENSIONAL
    ]
    regions = [(item, _region_in_frame(item, width, height)) for item in items]
    usable = [
        (item, region)
        for item, region in regions
        if region is not None and min(region.width, region.height) >= _MIN_REGION_PX
    ]
    if not usable and any(region is None for _, region in regions):
        return Scale()
    of_tissue = [pair for pair in usable if pair[0].get("RegionDataType") == _TISSUE]
    chosen = max(of_tissue or usable, key=lambda pair: pair[1].width * pair[1].height, default=None)
    if chosen is None:
        return Scale(None, *_frame_pixel_size(header))
    item, region = chosen
    mm_per_px, pixel_aspect = _region_pixel_size(item)
    if mm_per_px is None:
        mm_per_px, pixel_aspect = _frame_pixel_size(header)
    return Scale(region, mm_per_px, pixel_aspect)


def _region_in_frame(item: Dataset, width: int, height: int) -> Region | None:
    edges = [item.get(f"RegionLocation{name}") for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
    if not all(isinstance(edge, int) for edge in edges):
        return None
    x0, y0, last_x, last_y = edges
    # The standard's maximum is inclusive; some makers write the exclusive one, hence the tolerance
    # of a pixel.
    x1, y1 = last_x + 1, last_y + 1
    if x0 < 0 or y0 < 0 or x1 > width + 1 or y1 > height + 1:
        return None
    return Region(x0, y0, min(x1, width), min(y1, height))


def _region_pixel_size(item: Dataset) -> tuple[float | None, float]:
    """Width of a region's pixel in mm, or None, and its height over its width.

    PhysicalDeltaX and Y are in cm per pixel; negative ones belong to mirrored pictures.
    """
    units = (item.get("PhysicalUnitsXDirection"), item.get("PhysicalUnitsYDirection"))
    if units != (_CENTIMETRE, _CENTIMETRE):
        return None, 1.0
    across_cm = abs(float(item.get("PhysicalDeltaX") or 0))
    down_cm = abs(float(item.get("PhysicalDeltaY") or 0))
    return _checked_pixel_size(across_cm * _MM_PER_CM, down_cm * _MM_PER_CM)


def _frame_pixel_size(header: Dataset) -> tuple[float | None, float]:
    """Width of a pixel of the whole frame in mm, or None, and its height over its width."""
    for spacing in _frame_spacings(header):
        if isinstance(spacing, Sequence) and len(spacing) == 2:
            down_mm, across_mm = (float(value) for value in spacing)
            if (across_mm, down_mm) == _UNKNOWN_MM:
                continue
            mm_per_px, pixel_aspect = _checked_pixel_size(across_mm, down_mm)
            if mm_per_px is not None:
                return mm_per_px, pixel_aspect
    ratio = header.get("PixelAspectRatio")  # of height to width
    if isinstance(ratio, Sequence) and len(ratio) == 2 and min(ratio) > 0:
        return None, checked_aspect(float(ratio[0]) / float(ratio[1]))
    return None, 1.0


def _frame_spacings(header: Dataset) -> list[object]:
    """What the header says of pixels' sizes, between rows and between columns, best first."""
    spacings = []
    for groups in header.get("SharedFunctionalGroupsSequence") or []:
        for measures in groups.get("PixelMeasuresSequence") or []:
            spacings.append(measures.get("PixelSpacing"))
    return spacings + [header.get(name) for name in _SPACINGS]


def _checked_pixel_size(across_mm: float, down_mm: float) -> tuple[float | None, float]:
    """The width in mm and height over width of a pixel; unknown if no screen has such pixels."""
    mm_per_px = checked_mm_per_px(across_mm)
    if mm_per_px is None or checked_aspect(down_mm / across_mm) != down_mm / across_mm:
        return None, 1.0
    return mm_per_px, down_mm / across_mm
