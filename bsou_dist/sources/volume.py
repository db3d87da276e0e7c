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
_PACKED = re.compile(rb"(?im)^(?:CompressedData\s*[=:]\s*t|encoding\s*:\s*(?:gz|bz))")


def read_volume(path: Path, image_io: str, max_frames: int | None = None) -> RawClip:
    """Read a stack of 2D frames of 1 to 4 channels with the named SimpleITK reader ('MetaImageIO'
    or 'NrrdImageIO').

    A spacing of exactly 1 by 1 is what writers put where they know none, so it counts as unknown.

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
    sources = [path, *_named_beside(path, header)]
    packed = _PACKED.search(header) is not None
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
        most_bytes = sum(source.stat().st_size for source in sources) * (
            MAX_DEFLATION if packed else 1
        )
        refuse_impossible(
            count, height, width, width * height * count * _pixel_bytes(reader), most_bytes
        )
        indices = even_indices(count, max_frames)
        frames = (
            _whole(reader)[indices]
            if packed or image_io == "NrrdImageIO"
            else _streamed(reader, indices)
        )
    except RuntimeError:
        raise UnreadableClip("damaged or incomplete MHA, MHD or NRRD file") from None
    across_mm, down_mm = reader.GetSpacing()[:2]
    spacing = (
        (None, 1.0) if (across_mm, down_mm) == (1.0, 1.0) else (across_mm, down_mm / across_mm)
    )
    return RawClip(
        to_frames(frames),
        "volume",
        count,
        checked_mm_per_px(spacing[0]),
        checked_aspect(spacing[1]),
    )


def _header(path: Path, image_io: str) -> bytes:
    with path.open("rb") as file:
        head = file.read(_MAX_HEADER_BYTES)
    end = _HEADER_END[image_io].search(head)
    if end is None and len(head) == _MAX_HEADER_BYTES:
        raise UnreadableClip("its header does not end within 1 MB")
    return head[: end.end()] if end else head


def _named_beside(path: Path, header: bytes) -> list[Path]:
    """The files that hold the pixels, if not this one.

    A header may name any file of the machine, whose bytes would then be packed as a picture, so
    UnreadableClip unless it is a file beside this one, and no link.
    """
    named = [name.strip() for name in _DATA_FILE.findall(header)]
    beside = [
        path.parent / name.decode("utf-8", "surrogateescape")
        for name in named
        if name not in (b"", b"LOCAL")
    ]
    if any(re.search(rb"[/\\%\0]|^LIST|^\.+$", name) for name in named) or any(
        other.is_symlink() for other in beside
    ):
        raise UnreadableClip("its header names other files than one beside it")
    return [other for other in beside if other.is_file()]


def _pixel_bytes(reader: sitk.ImageFileReader) -> int:
    bits = re.search(r"(\d+)-bit", sitk.GetPixelIDValueAsString(reader.GetPixelID()))
    return reader.GetNumberOfComponents() * (int(bits[1]) // 8 if bits else 1)


def _whole(reader: sitk.ImageFileReader) -> NDArray[np.generic]:
    return sitk.GetArrayFromImage(reader.Execute())


def _streamed(reader: sitk.ImageFileReader, indices: list[int]) -> NDArray[np.generic]:
    """The frames wanted; the others are never in memory."""
    width, height, _ = reader.GetSize()
    reader.SetExtractSize([width, height, 1])
    frames = []
    for index in indices:
        reader.SetExtractIndex([0, 0, index])
        frames.append(_whole(reader)[0])
    return np.stack(frames)
