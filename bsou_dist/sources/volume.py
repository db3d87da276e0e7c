"""MetaImage (MHA, MHD) and NRRD: stacks of frames with a header of text."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.sources.grey_levels import to_frames
from bsou_dist.sources.meta_image import read_meta_image_header
from bsou_dist.sources.nrrd_header import read_nrrd_header
from bsou_dist.sources.raw_clip import (
    RawClip,
    checked_aspect,
    checked_mm_per_px,
)
from bsou_dist.sources.stack_header import StackHeader, turned_to_frames
from bsou_dist.sources.stack_pixels import read_stack

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
    notes: tuple[str, ...] = ()
    turned = None if part is None else turned_to_frames(header, part.total)
    if turned is not None:
        header = turned
        notes = ("frames along another axis: the one of as many values as the table says",)
    mm_per_px, pixel_aspect = _pixel_size(header)
    frames = to_frames(read_stack(header, max_frames, part))
    return RawClip(
        frames=header.orientation.applied_to(frames),
        source="volume",
        source_frames=header.length("frame") if part is None else len(part),
        mm_per_px=mm_per_px,
        pixel_aspect=checked_aspect(pixel_aspect),
        notes=notes,
    )


def _pixel_size(header: StackHeader) -> tuple[float | None, float]:
    """Width of a pixel in mm, or None, and its height over its width.

    A spacing of exactly 1 by 1 is what writers put where they know none, so it counts as unknown.
    """
    across_mm, down_mm = checked_mm_per_px(header.mm_across), checked_mm_per_px(header.mm_down)
    if header.orientation.swaps_rows_and_columns:
        across_mm, down_mm = down_mm, across_mm
    if across_mm is None or down_mm is None or (across_mm, down_mm) == (1.0, 1.0):
        return None, 1.0
    return across_mm, down_mm / across_mm
