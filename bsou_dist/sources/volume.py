"""MetaImage (MHA, MHD) and NRRD sequences through SimpleITK."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from bsou_dist.sources.raw_clip import (
    MAX_DEFLATION,
    RawClip,
    UnreadableClip,
    checked_aspect,
    checked_mm_per_px,
    even_indices,
    refuse_impossible,
    to_frames,
)

_MAX_HEADER_BYTES = 1 << 20
_DATA_FILE = re.compile(rb"(?i)(?:ElementDataFile\s*[=:]|data\s*file\s*:)\s*([^\r\n]*)")
_HEADER_END = {
    "MetaImageIO": re.compile(rb"ElementDataFile[^\n]*\n?"),
    "NrrdImageIO": re.compile(rb"\r?\n\r?\n"),
}
_UNSAFE_NAME = re.compile(rb"[/\\%\0]|^LIST|^\.+$")  # a path, a pattern, a list or a folder
_PACKED = re.compile(rb"(?im)^(?:CompressedData\s*[=:]\s*t|encoding\s*:\s*(?:gz|bz))")


def read_volume(path: Path, image_io: str, max_frames: int | None = None) -> RawClip:
    """Read a stack of 2D frames of 1 to 4 channels with a SimpleITK reader.

    A spacing of exactly 1 by 1 is what writers put where they know none, so it counts as unknown.

    Args:
        path: the file.
        image_io: name of the reader, 'MetaImageIO' or 'NrrdImageIO'.
        max_frames: keep at most so many frames, evenly chosen.

    Raises:
        UnreadableClip: damaged, not a stack of frames, or smaller than its header claims.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:  # SimpleITK would abort the process
        raise UnreadableClip(
            "a MHA, MHD or NRRD file whose name is not in UTF-8; rename it"
        ) from None
    header = _header(path, image_io)
    files = [path, *_pixel_files_beside(path, header)]
    is_packed = _PACKED.search(header) is not None
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        channels = reader.GetNumberOfComponents()
        if reader.GetDimension() != 3 or not 1 <= channels <= 4:
            raise UnreadableClip(
                f"{reader.GetDimension()} dimensions of {channels} values, not a stack of frames"
            )
        width, height, count = reader.GetSize()
        claimed_bytes = width * height * count * _pixel_bytes(reader)
        most_bytes = sum(file.stat().st_size for file in files)
        if is_packed:
            most_bytes *= MAX_DEFLATION
        refuse_impossible(count, height, width, claimed_bytes, most_bytes)
        indices = even_indices(count, max_frames)
        # SimpleITK reads these whole, whatever part it is asked for.
        if is_packed or image_io == "NrrdImageIO":
            frames = _whole(reader)[indices]
        else:
            frames = _streamed(reader, indices)
    except RuntimeError:
        raise UnreadableClip("damaged or incomplete MHA, MHD or NRRD file") from None
    mm_per_px, pixel_aspect = _pixel_size(reader)
    return RawClip(
        frames=to_frames(frames),
        source="volume",
        source_frames=count,
        mm_per_px=checked_mm_per_px(mm_per_px),
        pixel_aspect=checked_aspect(pixel_aspect),
    )


def _header(path: Path, image_io: str) -> bytes:
    """The file's text before its pixels, or all of it if it has no end; a megabyte at most."""
    with path.open("rb") as file:
        head = file.read(_MAX_HEADER_BYTES)
    end = _HEADER_END[image_io].search(head)
    if end is None and len(head) == _MAX_HEADER_BYTES:
        raise UnreadableClip("its header does not end within 1 MB")
    return head[: end.end()] if end else head


def _pixel_files_beside(path: Path, header: bytes) -> list[Path]:
    """The files that hold the pixels, if not this one.

    A header may name any file of the machine, whose bytes would then be packed as a picture, so
    UnreadableClip unless it is a file beside this one, and no link.
    """
    names = [name.strip() for name in _DATA_FILE.findall(header)]
    other_names = [name for name in names if name not in (b"", b"LOCAL")]
    beside = [path.parent / name.decode("utf-8", "surrogateescape") for name in other_names]
    leads_elsewhere = any(_UNSAFE_NAME.search(name) for name in names)
    if leads_elsewhere or any(file.is_symlink() for file in beside):
        raise UnreadableClip("its header names other files than one beside it")
    return [file for file in beside if file.is_file()]


def _pixel_bytes(reader: sitk.ImageFileReader) -> int:
    type_name = sitk.GetPixelIDValueAsString(reader.GetPixelID())  # '8-bit unsigned integer', say
    bits = re.search(r"(\d+)-bit", type_name)
    value_bytes = int(bits[1]) // 8 if bits else 1
    return reader.GetNumberOfComponents() * value_bytes


def _pixel_size(reader: sitk.ImageFileReader) -> tuple[float | None, float]:
    """Width of a pixel in mm, or None, and its height over its width."""
    across_mm, down_mm = reader.GetSpacing()[:2]
    if (across_mm, down_mm) == (1.0, 1.0):
        return None, 1.0
    return across_mm, down_mm / across_mm


def _whole(reader: sitk.ImageFileReader) -> NDArray[np.generic]:
    return sitk.GetArrayFromImage(reader.Execute())


def _streamed(reader: sitk.ImageFileReader, indices: list[int]) -> NDArray[np.generic]:
    """Read the frames wanted; the others are never in memory."""
    width, height, _ = reader.GetSize()
    reader.SetExtractSize([width, height, 1])
    frames = []
    for index in indices:
        reader.SetExtractIndex([0, 0, index])
        frames.append(_whole(reader)[0])
    return np.stack(frames)
