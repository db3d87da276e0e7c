"""Multi-frame DICOM to frames as the screen showed them."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, iter_pixels
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from bsou_dist.sources.bounded_file import BoundedFile
from bsou_dist.sources.dicom_jpeg import read_jpeg_frames
from bsou_dist.sources.raw_clip import (
    MAX_DEFLATION,
    RawClip,
    Region,
    UnreadableClip,
    checked_aspect,
    checked_mm_per_px,
    even_in_time,
    refuse_impossible,
    shrinkage,
    to_uint8,
)

_TWO_DIMENSIONAL = 1  # Region Spatial Format, PS3.3 C.8.5.5.1.1
_CENTIMETRE = 3  # Physical Units, PS3.3 C.8.5.5.1.15
_MIN_REGION_PX = 16
_ITEM_HEAD_BYTES = 8  # of an encapsulated frame
_NATIVE = (
    None,
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def looks_like_headless_dicom(head: bytes) -> bool:
    """Whether bytes without the 'DICM' mark start with a plausible element of group 0002 or
    0008.
    """
    if len(head) < 12:
        return False
    for order in ("<", ">"):
        group, element = struct.unpack(order + "HH", head[:4])
        if group in (0x0002, 0x0008) and element <= 0x0070:
            implicit_length = struct.unpack(order + "I", head[4:8])[0]
            return (head[4:6].isalpha() and head[4:6].isupper()) or implicit_length <= 256
    return False


def read_dicom(
    path: Path, max_frames: int | None = None, wanted_mm_per_px: float | None = None
) -> RawClip:
    """Read a DICOM clip in any transfer syntax for which pydicom has a decoder.

    Frames finer than `wanted_mm_per_px` may come shrunk, where decoding does it for nothing;
    spacing and region are then those of the shrunk frames.

    Spacing comes from the chosen ultrasound region: PhysicalDeltaX is in cm per pixel, so times 10.
    A region that leaves the frame describes another picture (the clip was scaled after
    acquisition): it is ignored with its spacing.

    Raises:
        UnreadableClip: no picture, no decoder, or fewer bytes than the header states.
    """
    with _nothing_quoted():
        with BoundedFile(path) as file:
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        if "Rows" not in header or "Columns" not in header:
            raise UnreadableClip("a DICOM object without a picture")
        count = int(header.get("NumberOfFrames") or 1)
        _refuse_impossible(path, header, count)
        indices = even_in_time(_times_ms(header, count), max_frames)
        region, mm_per_px, pixel_aspect = _region(header, int(header.Columns), int(header.Rows))
        shrink = shrinkage(mm_per_px, pixel_aspect, wanted_mm_per_px)
        pixels: NDArray[np.generic] | None = read_jpeg_frames(path, header, indices, shrink)
        if pixels is None:
            pixels, shrink = _pixels(path, header, indices), 1
        frames = _to_screen(pixels, header)
    return RawClip(
        frames,
        "dicom",
        count,
        mm_per_px and mm_per_px * shrink,
        pixel_aspect,
        region and region.shrunk(shrink),
        shrink,
    )


def _refuse_impossible(path: Path, header: Dataset, count: int) -> None:
    file_bytes = path.stat().st_size
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    height, width = int(header.Rows), int(header.Columns)
    if syntax in _NATIVE:
        samples = (
            2
            if header.get("PhotometricInterpretation") == "YBR_FULL_422"
            else header.get("SamplesPerPixel", 1)
        )
        claimed = count * height * width * samples * header.get("BitsAllocated", 8) / 8
        most = file_bytes * (MAX_DEFLATION if syntax == DeflatedExplicitVRLittleEndian else 1)
    else:
        claimed, most = count * _ITEM_HEAD_BYTES, file_bytes
    refuse_impossible(count, height, width, claimed, most)


def _times_ms(header: Dataset, count: int) -> Sequence[float]:
    """When each frame was taken; where the header does not say so frame by frame, as if at a fixed
    rate.
    """
    steps = header.get("FrameTimeVector")
    return (
        np.cumsum(steps).tolist()
        if isinstance(steps, Sequence) and len(steps) == count
        else range(count)
    )


@contextmanager
def _nothing_quoted() -> Iterator[None]:
    """Silence pydicom, which quotes header values (a malformed birth date, say) in warnings and in
    its log.
    """
    logger = logging.getLogger("pydicom")
    disabled = logger.disabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = disabled


def _pixels(path: Path, header: Dataset, indices: list[int]) -> NDArray[np.generic]:
    """The frames wanted, (F, H, W) or (F, H, W, 3), YBR already turned to RGB."""
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    try:
        if syntax not in (None, DeflatedExplicitVRLittleEndian):
            try:
                with BoundedFile(path) as file:
                    return np.stack(
                        list(iter_pixels(file, indices=indices))
                    )  # holds only the frames wanted
            except (ValueError, StopIteration):
                # pydicom forgives a few faults of encapsulation only in a dataset that is wholly in
                # memory
                pass
        with BoundedFile(path) as file:
            dataset = pydicom.dcmread(file, force=True)
        dataset.file_meta.TransferSyntaxUID = syntax or _guessed_syntax(dataset)
        return np.stack(list(iter_pixels(dataset, indices=indices)))
    except (NotImplementedError, RuntimeError) as error:
        name = syntax.name if syntax is not None and syntax.is_transfer_syntax else "unknown"
        raise UnreadableClip(
            f"its pixel data cannot be decoded (transfer syntax {name})"
        ) from error
    except (AttributeError, ValueError, StopIteration) as error:
        raise UnreadableClip(
            "its pixel data is missing, incomplete or contradicts its header"
        ) from error


def _guessed_syntax(dataset: Dataset) -> pydicom.uid.UID:
    implicit, little_endian = dataset.original_encoding
    if not little_endian:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _to_screen(pixels: NDArray[np.generic], header: Dataset) -> NDArray[np.uint8]:
    photometric = str(header.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR":
        return _high_byte(apply_color_lut(pixels, header))
    if pixels.ndim == 4:
        return _high_byte(pixels)
    if not photometric.startswith("MONOCHROME"):
        raise UnreadableClip(
            "its photometric interpretation is none of MONOCHROME, RGB, YBR and PALETTE COLOR"
        )
    if pixels.dtype != np.uint8:
        pixels = apply_voi_lut(apply_modality_lut(pixels, header), header)
    frames = to_uint8(pixels)
    return np.uint8(255) - frames if photometric == "MONOCHROME1" else frames


def _high_byte(colours: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Colours have a fixed full scale, so that their width in bits gives the scale."""
    if colours.dtype.kind != "u":
        raise UnreadableClip("its colours are not unsigned integers")
    if colours.dtype == np.uint8:
        return colours.astype(np.uint8, copy=False)
    return (colours >> np.array(8 * (colours.dtype.itemsize - 1), colours.dtype)).astype(np.uint8)


def _region(header: Dataset, width: int, height: int) -> tuple[Region | None, float | None, float]:
    """The largest 2D region inside the frame, its width of a pixel in mm, and its pixels' height
    over width.
    """
    best: tuple[Region | None, float | None, float] = (None, None, 1.0)
    best_area = 0
    for item in header.get("SequenceOfUltrasoundRegions") or []:
        if item.get("RegionSpatialFormat") != _TWO_DIMENSIONAL:
            continue
        edges = [item.get(f"RegionLocation{name}") for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
        if not all(isinstance(edge, int) for edge in edges):
            continue
        # The standard's maximum is inclusive; some makers write the exclusive one, hence the
        # tolerance of a pixel.
        x0, y0, x1, y1 = edges[0], edges[1], edges[2] + 1, edges[3] + 1
        if x0 < 0 or y0 < 0 or x1 > width + 1 or y1 > height + 1:
            continue
        region = Region(x0, y0, min(x1, width), min(y1, height))
        across, down = region.x1 - region.x0, region.y1 - region.y0
        if min(across, down) < _MIN_REGION_PX or across * down <= best_area:
            continue
        best_area = across * down
        best = (region, *_spacing(item))
    return best


def _spacing(item: Dataset) -> tuple[float | None, float]:
    units = (item.get("PhysicalUnitsXDirection"), item.get("PhysicalUnitsYDirection"))
    if units != (_CENTIMETRE, _CENTIMETRE):
        return None, 1.0
    across_cm, down_cm = (
        abs(float(item.get(name) or 0)) for name in ("PhysicalDeltaX", "PhysicalDeltaY")
    )
    mm_per_px = checked_mm_per_px(across_cm * 10)
    if mm_per_px is None:
        return None, 1.0
    aspect = down_cm / across_cm
    return (mm_per_px, aspect) if checked_aspect(aspect) == aspect else (None, 1.0)
