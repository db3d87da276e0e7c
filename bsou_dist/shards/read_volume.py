"""MetaImage (MHA, MHD) and NRRD sequences through SimpleITK."""

from __future__ import annotations

import re
from pathlib import Path

import SimpleITK as sitk

from bsou_dist.shards.raw import RawClip, UnreadableClip, checked_mm_per_px, even_indices, to_uint8

_MAX_HEADER_BYTES = 1 << 20
_DATA_FILE = re.compile(rb"(?i)(?:ElementDataFile\s*[=:]|data\s*file\s*:)\s*([^\r\n]*)")
_HEADER_END = {"MetaImageIO": rb"ElementDataFile", "NrrdImageIO": rb"\r?\n\r?\n"}


def read_volume(path: Path, image_io: str, max_frames: int | None = None) -> RawClip:
    """Read a stack of 2D frames with the named SimpleITK reader ('MetaImageIO' or 'NrrdImageIO').

    A spacing of exactly 1 by 1 is what writers put where they know none, so it counts as unknown.

    Raises:
        UnreadableClip: damaged, or not a stack of grey or RGB frames.
    """
    try:
        _refuse_other_folders(path, image_io)
        image = sitk.ReadImage(str(path), imageIO=image_io)
    except RuntimeError:
        raise UnreadableClip("damaged or incomplete MHA, MHD or NRRD file") from None
    components = image.GetNumberOfComponentsPerPixel()
    if image.GetDimension() != 3 or components not in (1, 3):
        raise UnreadableClip(f"{image.GetDimension()} dimensions of {components} values, not a stack of grey or RGB")
    stack = sitk.GetArrayViewFromImage(image)  # (F, H, W) or (F, H, W, 3)
    frames = to_uint8(stack[even_indices(len(stack), max_frames)])
    across_mm, down_mm = image.GetSpacing()[:2]
    if (across_mm, down_mm) == (1.0, 1.0):
        return RawClip(frames, "volume", len(stack))
    return RawClip(frames, "volume", len(stack), checked_mm_per_px(across_mm), down_mm / across_mm)


def _refuse_other_folders(path: Path, image_io: str) -> None:
    """UnreadableClip if the header takes the pixels from anywhere but this file or one beside it.

    A header may name any file of the machine, whose bytes would then be packed as a picture.
    """
    with path.open("rb") as file:
        head = file.read(_MAX_HEADER_BYTES)
    if len(head) == _MAX_HEADER_BYTES and not re.search(_HEADER_END[image_io], head):
        raise UnreadableClip("its header does not end within 1 MB")
    for named in _DATA_FILE.findall(head):
        if re.search(rb"[/\\%]|^LIST", named.strip()):  # a path, a pattern, or a list of either
            raise UnreadableClip("its header names other files than one beside it")
