"""Which part of a DICOM frame is the B-mode picture (PS3.3 C.8.5.5, ultrasound regions)."""

from __future__ import annotations

from typing import NamedTuple

from pydicom.dataset import Dataset

from bsou_dist.sources.orientation import orientation_note
from bsou_dist.sources.raw_clip import Region

_TWO_DIMENSIONAL = 1  # Region Spatial Format, C.8.5.5.1.1
_UNSAID, _TISSUE, _COLOUR_FLOW = 0, 1, 2  # Region Data Type, C.8.5.5.1.2
_LOW_PRIORITY = 1  # bit of Region Flags, C.8.5.5.1.3: others lie over it
_MIN_REGION_PX = 16
_MIN_OVERLAP_PX = 4  # less is an edge that both regions count


class RegionChoice(NamedTuple):
    """The region of the B-mode picture, None without one, its item in the header, and notes.

    `leaves_frame` says that all regions are larger than the frame.
    """

    region: Region | None = None
    item: Dataset | None = None
    notes: tuple[str, ...] = ()
    leaves_frame: bool = False


class _Placed(NamedTuple):
    item: Dataset
    region: Region

    @property
    def data_type(self) -> int:
        return int(self.item.get("RegionDataType") or _UNSAID)

    @property
    def is_two_dimensional(self) -> bool:
        return self.item.get("RegionSpatialFormat") == _TWO_DIMENSIONAL

    @property
    def has_low_priority(self) -> bool:
        return bool(int(self.item.get("RegionFlags") or 0) & _LOW_PRIORITY)


def chosen_region(header: Dataset) -> RegionChoice:
    """Choose the largest 2D region of tissue over which no flow is drawn.

    With none of them, the largest of tissue; where none is said to be of tissue, the largest of an
    unsaid type, or of any. Traces that lie over a region are cut off it.
    """
    width, height = int(header.Columns), int(header.Rows)
    items = list(header.get("SequenceOfUltrasoundRegions") or [])
    regions = [_region_in_frame(item, width, height) for item in items]
    placed = [
        _Placed(item, region)
        for item, region in zip(items, regions, strict=True)
        if region is not None and _is_large(region)
    ]
    pictures = [one for one in placed if one.is_two_dimensional]
    if not pictures:
        two_dimensional = [item.get("RegionSpatialFormat") == _TWO_DIMENSIONAL for item in items]
        left_over = [
            is_picture and region is None
            for is_picture, region in zip(two_dimensional, regions, strict=True)
        ]
        return RegionChoice(leaves_frame=any(left_over))
    of_type = {
        data_type: [one for one in pictures if one.data_type == data_type]
        for data_type in (_TISSUE, _UNSAID)
    }
    candidates = of_type[_TISSUE] or of_type[_UNSAID] or pictures
    flows = [one for one in pictures if one.data_type == _COLOUR_FLOW]
    without_flow = [
        one for one in candidates if not any(_overlap(one.region, flow.region) for flow in flows)
    ]
    visible = [_Placed(one.item, _visible(one, placed)) for one in without_flow or candidates]
    chosen = max(visible, key=lambda one: one.region.width * one.region.height)
    return RegionChoice(chosen.region, chosen.item, _notes(chosen.item, len(visible)))


def _notes(item: Dataset, count: int) -> tuple[str, ...]:
    notes = []
    if count > 1:
        notes.append("regions: of several that show tissue the largest is taken")
    for name, direction in (("X", "sideways"), ("Y", "in depth")):
        if float(item.get(f"PhysicalDelta{name}") or 0) < 0:
            notes.append(orientation_note("the region", f"says that it is mirrored {direction}"))
    return tuple(notes)


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


def _is_large(region: Region) -> bool:
    return min(region.width, region.height) >= _MIN_REGION_PX


def _overlap(one: Region, other: Region) -> Region | None:
    """What two regions share, None if that is nothing, or an edge."""
    shared = Region(
        x0=max(one.x0, other.x0),
        y0=max(one.y0, other.y0),
        x1=min(one.x1, other.x1),
        y1=min(one.y1, other.y1),
    )
    return shared if min(shared.width, shared.height) >= _MIN_OVERLAP_PX else None


def _visible(picture: _Placed, placed: list[_Placed]) -> Region:
    """The part of a picture's region that no trace covers (Doppler, M-mode, ECG)."""
    region = picture.region
    for other in placed:
        is_flow_over_tissue = other.is_two_dimensional and other.data_type <= _COLOUR_FLOW
        is_below = other.has_low_priority and not picture.has_low_priority
        shared = _overlap(region, other.region)
        if is_flow_over_tissue or is_below or shared is None:
            continue
        left = _largest_beside(region, shared)
        region = left if left is not None else region
    return region


def _largest_beside(region: Region, covered: Region) -> Region | None:
    """The rest of a region of which one end is covered over its whole width or height."""
    rests = []
    if covered.width == region.width:
        rests.append(Region(region.x0, region.y0, region.x1, covered.y0))
        rests.append(Region(region.x0, covered.y1, region.x1, region.y1))
    if covered.height == region.height:
        rests.append(Region(region.x0, region.y0, covered.x0, region.y1))
        rests.append(Region(covered.x1, region.y0, region.x1, region.y1))
    large = [rest for rest in rests if _is_large(rest)]
    return max(large, key=lambda rest: rest.width * rest.height, default=None)
