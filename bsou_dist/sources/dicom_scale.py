"""How large the pixels of a DICOM frame are, by an order of trust.

An ultrasound region is trusted first: it is the scanner's own calibration of what it drew. Then
come the spacings that apply to the whole frame, from the most specific on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydicom.dataset import Dataset

from bsou_dist.sources.dicom_regions import chosen_region
from bsou_dist.sources.raw_clip import Region, checked_aspect, checked_mm_per_px
from bsou_dist.sources.stated_spacing import SPACING_TOLERANCE, StatedSpacing, disagreement_notes

_REGION = "ultrasound region"
_FUNCTIONAL_GROUPS = "functional groups"
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_CENTIMETRE = 3  # Physical Units, PS3.3 C.8.5.5.1.15
_MM_PER_CM = 10
_SPACINGS = ("PixelSpacing", "NominalScannedPixelSpacing")  # of the whole frame, in mm
_UNKNOWN_MM = (1.0, 1.0)  # what writers put where they know none


class Scale(NamedTuple):
    """The picture's region, and the width of its pixels in mm and their height over it.

    `source` says what states the width, and `notes` what contradicts it.
    """

    region: Region | None = None
    mm_per_px: float | None = None
    pixel_aspect: float = 1.0
    source: str | None = None
    notes: tuple[str, ...] = ()


def stated_scale(header: Dataset) -> Scale:
    """Region and pixel size as the header states them, nothing guessed.

    A region that leaves the frame describes another picture, since the clip was scaled after
    acquisition: nothing that the header says about size is trusted then.
    """
    choice = chosen_region(header)
    if choice.leaves_frame:
        note = (
            "scale: the ultrasound region leaves the frame, so that no spacing of the file counts"
        )
        return Scale(notes=(note,))
    of_region = None if choice.item is None else _region_spacing(choice.item)
    of_groups = _spacings_of_groups(header)
    stated = [*of_groups[:1], *_spacings_of_frame(header)]
    notes = choice.notes
    if of_groups and disagreement_notes(of_groups[0], of_groups):
        stated = []
        notes += ("scale: functional groups differ from frame to frame, so that none counts",)
    if of_region is not None:
        stated.insert(0, of_region)
    aspect = _stated_aspect(header)
    if not stated:
        return Scale(choice.region, None, aspect or 1.0, None, notes)
    kept, *others = stated
    kept_aspect = kept.down_mm / kept.across_mm
    notes += disagreement_notes(kept, others)
    if aspect is not None and abs(aspect / kept_aspect - 1) > SPACING_TOLERANCE:
        notes += (f"scale: PixelAspectRatio contradicts {kept.source}, which counts",)
    return Scale(choice.region, kept.across_mm, kept_aspect, kept.source, notes)


def _region_spacing(item: Dataset) -> StatedSpacing | None:
    """Size of a region's pixel.

    PhysicalDeltaX and Y are in cm per pixel; negative ones belong to mirrored pictures.
    """
    units = (item.get("PhysicalUnitsXDirection"), item.get("PhysicalUnitsYDirection"))
    if units != (_CENTIMETRE, _CENTIMETRE):
        return None
    across_cm = abs(float(item.get("PhysicalDeltaX") or 0))
    down_cm = abs(float(item.get("PhysicalDeltaY") or 0))
    return _checked_spacing(_REGION, across_cm * _MM_PER_CM, down_cm * _MM_PER_CM)


def _spacings_of_frame(header: Dataset) -> list[StatedSpacing]:
    """What the header says once of the pixels of the whole frame, most trusted first."""
    pairs = [(name, header.get(name)) for name in _SPACINGS]
    spacings = [_spacing_of_pair(source, pair) for source, pair in pairs]
    return [spacing for spacing in spacings if spacing is not None]


def _spacings_of_groups(header: Dataset) -> list[StatedSpacing]:
    """What functional groups say, those of all frames and those of each."""
    sequences = [header.get(name) or [] for name in _GROUPS]
    measures = [
        item
        for sequence in sequences
        for groups in sequence
        for item in groups.get("PixelMeasuresSequence") or []
    ]
    pairs = [item.get("PixelSpacing") for item in measures]
    spacings = [_spacing_of_pair(_FUNCTIONAL_GROUPS, pair) for pair in pairs]
    return [spacing for spacing in spacings if spacing is not None]


def _spacing_of_pair(source: str, pair: object) -> StatedSpacing | None:
    """The spacing between rows and between columns that an element holds."""
    if not isinstance(pair, Sequence) or len(pair) != 2:
        return None
    down_mm, across_mm = (float(value) for value in pair)
    is_known = (across_mm, down_mm) != _UNKNOWN_MM
    return _checked_spacing(source, across_mm, down_mm) if is_known else None


def _stated_aspect(header: Dataset) -> float | None:
    """Height of a pixel over its width by PixelAspectRatio, None without it."""
    ratio = header.get("PixelAspectRatio")
    if not isinstance(ratio, Sequence) or len(ratio) != 2 or min(ratio) <= 0:
        return None
    return checked_aspect(float(ratio[0]) / float(ratio[1]))


def _checked_spacing(source: str, across_mm: float, down_mm: float) -> StatedSpacing | None:
    """The spacing, None if no screen has such pixels."""
    if checked_mm_per_px(across_mm) is None:
        return None
    if checked_aspect(down_mm / across_mm) != down_mm / across_mm:
        return None
    return StatedSpacing(source, across_mm, down_mm)
