"""A folder of numbered images, each a frame of one clip."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.sources.grey_levels import to_frames
from bsou_dist.sources.raw_clip import (
    MAX_DEFLATION,
    RawClip,
    UnreachableClip,
    UnreadableClip,
    checked_aspect,
    even_indices,
    part_of,
    refuse_impossible,
    stacked,
)

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "PPM")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".pnm")
_NUMBER = re.compile(r"\d+")
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")  # kept as numbers; others become 8 bits
_ORIENTATION_TAG = 0x0112  # of Exif
_SIDEWAYS = (5, 6, 7, 8)  # its values that swap width and height


class _Series(NamedTuple):
    """The images in the order of their numbers, and whether numbers between them are left out."""

    paths: list[Path]
    has_gaps: bool


class _Picture(NamedTuple):
    """Pixels as the file holds them, upright, and the height of one over its width."""

    pixels: NDArray[np.generic]
    aspect: float


def read_images(
    folder: Path, max_frames: int | None = None, part: FrameRange | None = None
) -> RawClip:
    """Read a folder's PNG, JPEG, BMP, TIFF, PGM or PPM images as one clip.

    Their names differ by a number, or by several that grow together; other files are passed over.
    Resolutions that images state in dots per inch are those of print and no spacing, but their
    ratio is the pixel's. Of a `part` its frames alone, the first image being frame 0.

    Raises:
        UnreadableClip: no such images, more than one series, a link, or a damaged image.
        UnreachableClip: the folder cannot be listed, or an image cannot be opened.
    """
    series = _series(folder)
    count = len(series.paths)
    numbers = part_of(count, part)
    indices = [numbers[place] for place in even_indices(len(numbers), max_frames)]
    pictures = []
    for index in indices:
        try:
            pictures.append(_picture(series.paths[index]))
        except (UnreadableClip, MemoryError):
            raise
        except Exception as error:  # decoders raise anything
            raise UnreadableClip(
                f"incomplete or damaged: image {index + 1} of {count} cannot be read"
            ) from error
    aspects = {picture.aspect for picture in pictures}
    notes = []
    if series.has_gaps:
        notes.append("frames missing: the images' numbers leave some out")
    if len(aspects) > 1:
        notes.append("scale: images differ in the shape of their pixels, and the first counts")
    return RawClip(
        frames=_frames([picture.pixels for picture in pictures]),
        source="images",
        source_frames=len(numbers),
        pixel_aspect=pictures[0].aspect,
        notes=tuple(notes),
    )


def _series(folder: Path) -> _Series:
    paths = _images_in(folder)
    if not paths:
        raise UnreadableClip("a folder without numbered images (PNG, JPEG, BMP, TIFF, PGM or PPM)")
    several = UnreadableClip(
        "a folder whose images are not one numbered series; name a folder for each clip"
    )
    words = {(_NUMBER.sub("#", path.stem), path.suffix.lower()) for path in paths}
    [stem] = {stem for stem, _ in words} if len(words) == 1 else {""}
    if "#" not in stem:
        raise several
    numbers = np.array([_numbers(path) for path in paths])
    order = np.lexsort(numbers.T[::-1])
    steps = np.diff(numbers[order], axis=0)
    varying = steps[:, steps.any(axis=0)]
    if len(paths) > 1 and (not varying.size or (varying <= 0).any()):
        raise several
    has_gaps = len(paths) > 2 and all(len(set(column)) > 1 for column in varying.T.tolist())
    return _Series([paths[place] for place in order], has_gaps)


def _images_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            images = [
                entry
                for entry in entries
                if Path(entry.name).suffix.lower() in _SUFFIXES and not entry.name.startswith(".")
            ]
            if any(entry.is_symlink() for entry in images):
                # A link may point at any file of the machine, whose picture would then be packed.
                raise UnreadableClip("one of its images is a link")
            return sorted(Path(entry.path) for entry in images if entry.is_file())
    except OSError as error:
        raise UnreachableClip(f"cannot be opened ({type(error).__name__})") from None


def _numbers(path: Path) -> list[float]:
    # As floats: a name's digits may be more than any integer of NumPy holds.
    return [float(digits) for digits in _NUMBER.findall(path.stem)]


def _picture(path: Path) -> _Picture:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreachableClip(f"an image cannot be opened ({type(error).__name__})") from None
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        width, height = picture.size
        refuse_impossible(1, height, width, height * width, len(data) * MAX_DEFLATION)
        if getattr(picture, "n_frames", 1) > 1:
            raise UnreadableClip("one of its images has several pages")
        width_over_height = _width_over_height(picture)
        if picture.getexif().get(_ORIENTATION_TAG) in _SIDEWAYS:
            width_over_height = 1 / width_over_height
        upright = ImageOps.exif_transpose(picture)
        return _Picture(_pixels(upright), 1 / width_over_height)


def _width_over_height(picture: Image.Image) -> float:
    """The shape of a pixel: the more dots per inch, the narrower."""
    across, down = picture.info.get("dpi") or picture.info.get("jfif_density") or (1, 1)
    if picture.info.get("aspect"):  # PNG without a unit
        across, down = picture.info["aspect"]
    if min(across, down) <= 0:
        return 1.0
    return checked_aspect(float(down) / float(across))


def _pixels(picture: Image.Image) -> NDArray[np.generic]:
    """Numbers, (H, W) or (H, W, C) with the opacity last where there is one."""
    if picture.mode in (*_DEEP_MODES, "L", "LA", "RGB", "RGBA"):
        return np.asarray(picture)
    if picture.mode == "1":
        return np.asarray(picture.convert("L"))
    has_opacity = "transparency" in picture.info or picture.mode in ("PA", "La", "RGBa")
    return np.asarray(picture.convert("RGBA" if has_opacity else "RGB"))


def _frames(pictures: list[NDArray[np.generic]]) -> NDArray[np.uint8]:
    """Pictures of any depth as one array of frames, grey or RGB."""
    if len({(picture.shape, picture.dtype.str) for picture in pictures}) == 1:
        return to_frames(np.stack(pictures))
    return stacked([to_frames(picture[None])[0] for picture in pictures])
