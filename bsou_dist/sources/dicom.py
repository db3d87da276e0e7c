"""Multi-frame DICOM to frames as the screen showed them."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut, iter_pixels
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.sources.bounded_file import BoundedFile
from bsou_dist.sources.dicom_frames import (
    compressed_frames,
    counted_frames,
    stored_frame_bytes,
)
from bsou_dist.sources.dicom_jpeg import decoded_jpegs
from bsou_dist.sources.dicom_orientation import orientation_notes
from bsou_dist.sources.dicom_palette import coloured_by_palette
from bsou_dist.sources.dicom_scale import stated_scale
from bsou_dist.sources.dicom_subsampled import is_subsampled, read_subsampled
from bsou_dist.sources.grey_levels import scaled_levels
from bsou_dist.sources.raw_clip import (
    MAX_DEFLATION,
    RawClip,
    UnreadableClip,
    even_in_time,
    part_of,
    refuse_impossible,
    shrinkage,
)

_FIRST_GROUPS = (0x0002, 0x0008)  # file meta information, and identification
_LAST_FIRST_ELEMENT = 0x0070  # no file begins later in these groups
_MAX_FIRST_VALUE_BYTES = 256
_ITEM_HEAD_BYTES = 8  # of an encapsulated frame
_NATIVE_SYNTAXES = (
    None,  # a file without the element: uncompressed by the standard's default
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
_OFFSET_TABLES = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_RELABELLED = "colours relabelled: its JPEG is not of the kind that its header names"


class _Decoded(NamedTuple):
    """Pixels, (F, h, w) or (F, h, w, 3), by how much they were shrunk, and notes about them."""

    pixels: NDArray[np.generic]
    shrink: int = 1
    notes: tuple[str, ...] = ()


def looks_like_headless_dicom(head: bytes) -> bool:
    """Whether bytes without the 'DICM' mark start with an element that DICOM files start with."""
    if len(head) < 12:
        return False
    value_representation = head[4:6]
    is_explicit = value_representation.isalpha() and value_representation.isupper()
    for byte_order in ("<", ">"):
        group, element = struct.unpack(f"{byte_order}HH", head[:4])
        (implicit_length,) = struct.unpack(f"{byte_order}I", head[4:8])
        if group in _FIRST_GROUPS and element <= _LAST_FIRST_ELEMENT:
            return is_explicit or implicit_length <= _MAX_FIRST_VALUE_BYTES
    return False


def read_dicom(
    path: Path,
    max_frames: int | None = None,
    wanted_mm_per_px: float | None = None,
    part: FrameRange | None = None,
) -> RawClip:
    """Read a DICOM clip, or a part of it, in any transfer syntax for which pydicom has a decoder.

    Frames finer than `wanted_mm_per_px` may come shrunk, where decoding does it for nothing;
    spacing and region are then those of the shrunk frames.

    Raises:
        UnreadableClip: no picture, no decoder, or fewer bytes than the header states.
    """
    with _pydicom_silenced():
        with BoundedFile(path) as file:
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        if "Rows" not in header or "Columns" not in header:
            raise UnreadableClip("a DICOM object without a picture")
        stated_count = header.get("NumberOfFrames")
        count = int(stated_count or counted_frames(path, header, _transfer_syntax(header)))
        _refuse_impossible_header(path, header, count)
        numbers = part_of(count, part)
        times_ms = _frame_times_ms(header, count)[numbers.start : numbers.stop]
        indices = [numbers[place] for place in even_in_time(times_ms, max_frames)]
        scale = stated_scale(header)
        shrink = shrinkage(scale.mm_per_px, scale.pixel_aspect, wanted_mm_per_px)
        header.NumberOfFrames = count
        decoded = _decoded(path, header, indices, shrink)
        frames = _to_screen(decoded.pixels, header)
        shrink = decoded.shrink
    return RawClip(
        frames=frames,
        source="dicom",
        source_frames=len(numbers),
        mm_per_px=None if scale.mm_per_px is None else scale.mm_per_px * shrink,
        scale_source=scale.source,
        pixel_aspect=scale.pixel_aspect,
        region=None if scale.region is None else scale.region.shrunk(shrink),
        shrunk=shrink,
        notes=(*scale.notes, *orientation_notes(header), *decoded.notes),
    )


@contextmanager
def _pydicom_silenced() -> Iterator[None]:
    """Silence pydicom, whose warnings and log quote header values (a malformed birth date, say)."""
    logger = logging.getLogger("pydicom")
    was_disabled = logger.disabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = was_disabled


def _transfer_syntax(header: Dataset) -> UID | None:
    return header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None


def _refuse_impossible_header(path: Path, header: Dataset, count: int) -> None:
    """Raise UnreadableClip where the file is too small for the frames that its header claims."""
    most_bytes = path.stat().st_size
    syntax = _transfer_syntax(header)
    height, width = int(header.Rows), int(header.Columns)
    if syntax in _NATIVE_SYNTAXES:
        claimed_bytes = count * stored_frame_bytes(header)
    else:
        claimed_bytes = count * _ITEM_HEAD_BYTES
    if syntax == DeflatedExplicitVRLittleEndian:
        most_bytes *= MAX_DEFLATION
    refuse_impossible(count, height, width, claimed_bytes, most_bytes)


def _frame_times_ms(header: Dataset, count: int) -> Sequence[float]:
    """Time of each frame; as if at a fixed rate where the header does not say it frame by frame."""
    steps_ms = header.get("FrameTimeVector")
    if isinstance(steps_ms, Sequence) and len(steps_ms) == count:
        return np.cumsum(steps_ms).tolist()
    return range(count)


def _decoded(path: Path, header: Dataset, indices: list[int], shrink: int) -> _Decoded:
    """Decode the frames wanted, shrunk where that costs nothing; YBR comes as RGB."""
    syntax = _transfer_syntax(header)
    if syntax in _NATIVE_SYNTAXES:
        if is_subsampled(header):
            return _Decoded(read_subsampled(path, header, indices))
        return _Decoded(_native_by_pydicom(path, header, indices))
    frames = compressed_frames(path, header, indices)
    jpegs = decoded_jpegs(frames, header, shrink)
    if jpegs is None:
        return _Decoded(_compressed_by_pydicom(frames, header))
    notes = (_RELABELLED,) if jpegs.is_mislabelled else ()
    return _Decoded(jpegs.pixels, shrink, notes)


def _compressed_by_pydicom(frames: list[bytes], header: Dataset) -> NDArray[np.generic]:
    dataset = Dataset(header)
    dataset.file_meta = header.file_meta
    for keyword in _OFFSET_TABLES:
        if keyword in dataset:
            del dataset[keyword]
    dataset.NumberOfFrames = len(frames)
    dataset.add_new("PixelData", "OB", encapsulate(frames, has_bot=False))
    with _decoding_told(header):
        return np.stack(list(iter_pixels(dataset)))


def _native_by_pydicom(path: Path, header: Dataset, indices: list[int]) -> NDArray[np.generic]:
    syntax = _transfer_syntax(header)
    stated: dict[str, Any] = {"number_of_frames": int(header.NumberOfFrames)}
    with _decoding_told(header):
        if syntax not in (None, DeflatedExplicitVRLittleEndian):
            # pydicom 3 forgives a few faults only in a dataset that is wholly in memory, so what
            # fails here is tried that way below.
            with suppress(ValueError, StopIteration), BoundedFile(path) as file:
                return np.stack(list(iter_pixels(file, indices=indices, **stated)))
        with BoundedFile(path) as file:
            dataset = pydicom.dcmread(file, force=True)
        dataset.file_meta.TransferSyntaxUID = syntax or _guessed_syntax(dataset)
        return np.stack(list(iter_pixels(dataset, indices=indices, **stated)))


@contextmanager
def _decoding_told(header: Dataset) -> Iterator[None]:
    """Turn what pydicom raises into a reason."""
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        syntax = _transfer_syntax(header)
        name = "unknown"
        if syntax is not None and syntax.is_transfer_syntax:
            name = syntax.name
        raise UnreadableClip(
            f"its pixel data cannot be decoded (transfer syntax {name})"
        ) from error
    except (AttributeError, ValueError, StopIteration) as error:
        raise UnreadableClip(
            "its pixel data is missing, incomplete or contradicts its header"
        ) from error


def _guessed_syntax(dataset: Dataset) -> UID:
    is_implicit, is_little_endian = dataset.original_encoding
    if not is_little_endian:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian


def _to_screen(pixels: NDArray[np.generic], header: Dataset) -> NDArray[np.uint8]:
    """Stored values to what a screen shows: grey (F, H, W) or RGB (F, H, W, 3)."""
    photometric = str(header.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR":
        return coloured_by_palette(pixels, header)
    if pixels.ndim == 4:
        return _high_byte(pixels)
    if not photometric.startswith("MONOCHROME"):
        raise UnreadableClip(
            "its photometric interpretation is none of MONOCHROME, RGB, YBR and PALETTE COLOR"
        )
    frames = _windowed(pixels, header)
    return np.uint8(255) - frames if photometric == "MONOCHROME1" else frames


def _windowed(pixels: NDArray[np.generic], header: Dataset) -> NDArray[np.uint8]:
    """Grey of any depth by the window that the file states, else over all bits that it stores."""
    names = ("WindowCenter", "WindowWidth")
    has_window = all(header.get(name) not in (None, "") for name in names)
    has_voi = has_window or bool(header.get("VOILUTSequence"))
    if pixels.dtype == np.uint8 and not has_voi:
        return pixels.astype(np.uint8, copy=False)
    values = apply_modality_lut(pixels, header)
    darkest, brightest = _shown_range(header)
    if has_voi:
        values = apply_voi_lut(values, header)
    elif darkest > brightest:  # a negative slope
        darkest, brightest = brightest, darkest
    return scaled_levels(values, darkest, brightest)


def _shown_range(header: Dataset) -> tuple[float, float]:
    """What modality and VOI make of the darkest and brightest pixel that may be (PS3.3 C.11)."""
    for name in ("VOILUTSequence", "ModalityLUTSequence"):
        if header.get(name):
            entry_bits = header[name][0].LUTDescriptor[2]
            return 0.0, 2.0**entry_bits - 1
    bits = int(header.BitsStored)
    if bits < 1:
        raise UnreadableClip("its header says that no bits are stored")
    low, high = 0.0, 2.0**bits - 1
    if header.get("PixelRepresentation", 0) == 1:  # signed
        low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    slope = float(header.get("RescaleSlope") or 1)
    intercept = float(header.get("RescaleIntercept") or 0)
    return low * slope + intercept, high * slope + intercept


def _high_byte(colours: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Colours in 8 bits; their full scale is fixed, so that their width in bits gives it."""
    if colours.dtype.kind != "u":
        raise UnreadableClip("its colours are not unsigned integers")
    if colours.dtype == np.uint8:
        return colours.astype(np.uint8, copy=False)
    low_bits = np.array(8 * (colours.dtype.itemsize - 1), colours.dtype)
    return (colours >> low_bits).astype(np.uint8)
