"""MetaImage (MHA, MHD) and NRRD: stacks of frames with a header of text."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.sources.grey_levels import to_frames
from bsou_dist.sources.meta_image import read_meta_image_header
from bsou_dist.sources.nrrd_header import read_nrrd_header
from bsou_dist.sources.orientation import Orientation
from bsou_dist.sources.raw_clip import (
    RawClip,
    checked_aspect,
)
from bsou_dist.sources.stack_header import turned_to_frames
from bsou_dist.sources.stack_pixels import read_stack
from bsou_dist.sources.stated_spacing import StatedSpacing, disagreement_notes

VolumeKind = Literal["MetaImage", "NRRD"]

_READ_HEADER = {"MetaImage": read_meta_image_header, "NRRD": read_nrrd_header}


def read_volume(
    path: Path, kind: VolumeKind, max_frames: int | None = None, part: FrameRange | None = None
) -> RawClip:
    """Read a stack of 2D frames of 1 to 4 channels.

    Args:
        path: the file.
        kind: its format.
        max_frames: keep at most so many frames, evenly chosen; the others are not held in memory.
        part: the frames to choose from.

    Raises:
        UnreadableClip: damaged, not a stack of frames, or of more or fewer pixels than its header
            claims.
    """
    header = _READ_HEADER[kind](path)
    notes = header.notes
    turned = None if part is None else turned_to_frames(header, part.total)
    if turned is not None:
        header = turned
        notes += ("frames along another axis: the one of as many values as the table says",)
    frames = to_frames(read_stack(header, max_frames, part))
    kept = header.spacings[0] if header.spacings else None
    notes += disagreement_notes(kept, header.spacings[1:])
    mm_per_px, pixel_aspect = _shown_pixel_size(kept, header.orientation)
    if kept is not None and mm_per_px is None:
        notes += (f"scale: {kept.source} makes pixels that no screen has, and does not count",)
    return RawClip(
        frames=header.orientation.applied_to(frames),
        source="volume",
        source_frames=header.length("frame") if part is None else len(part),
        mm_per_px=mm_per_px,
        scale_source=None if mm_per_px is None or kept is None else kept.source,
        pixel_aspect=pixel_aspect,
        notes=notes,
    )


def _shown_pixel_size(
    spacing: StatedSpacing | None, orientation: Orientation
) -> tuple[float | None, float]:
    """Width of a pixel as shown in mm, or None, and its height over its width."""
    if spacing is None:
        return None, 1.0
    across_mm, down_mm = spacing.across_mm, spacing.down_mm
    if orientation.swaps_rows_and_columns:
        across_mm, down_mm = down_mm, across_mm
    aspect = down_mm / across_mm
    return (across_mm, aspect) if checked_aspect(aspect) == aspect else (None, 1.0)
