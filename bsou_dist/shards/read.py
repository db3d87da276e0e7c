"""One door for every kind of clip file: what a file is, is decided by its content and never by its name."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from bsou_dist.shards.raw import RawClip, UnreadableClip, checked_mm_per_px, even_indices, to_uint8
from bsou_dist.shards.read_dicom import looks_like_headless_dicom, read_dicom
from bsou_dist.shards.read_video import read_video
from bsou_dist.shards.read_volume import read_volume

_SNIFFED_BYTES = 4096
_ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")  # first box of MP4 and MOV


def read_clip(path: Path, max_frames: int | None = None) -> RawClip:
    """Read a clip from DICOM (any name), MP4, MOV, AVI, MKV, MHA, MHD, NRRD or NPZ.

    Args:
        path: the file. An NPZ holds `frames` (F, H, W) or (F, H, W, 3), and maybe a scalar `mm_per_px`.
        max_frames: keep at most so many frames, evenly chosen; the others are not held in memory.

    Raises:
        UnreadableClip: whatever is wrong with the file, in words that quote nothing out of it.
    """
    kind = _sniff(path)
    try:
        if kind == "dicom":
            return read_dicom(path, max_frames)
        if kind == "video":
            return read_video(path, max_frames)
        if kind == "npz":
            return _read_npz(path, max_frames)
        return read_volume(path, kind, max_frames)
    except UnreadableClip:
        raise
    except Exception as error:
        # Decoders raise anything on damaged files, and their messages may quote patient data.
        raise UnreadableClip(f"damaged {kind} file ({type(error).__name__})") from error


def _sniff(path: Path) -> str:
    """'dicom', 'video', 'npz', or the name of the SimpleITK reader for a volume."""
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFFED_BYTES)
    except FileNotFoundError:
        raise UnreadableClip("no such file") from None
    except OSError as error:
        raise UnreadableClip(f"cannot be opened ({type(error).__name__})") from None
    if not head:
        raise UnreadableClip("empty file (0 bytes)")
    if head[128:132] == b"DICM":
        return "dicom"
    if head[4:8] in _ISO_BOXES or head[:4] == b"\x1a\x45\xdf\xa3" or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return "video"
    if head[:4] == b"PK\x03\x04":
        return "npz"
    if head[:4] == b"NRRD":
        return "NrrdImageIO"
    if (b"NDims" in head and b"ElementType" in head) or (b"ObjectType" in head and b"Image" in head):
        return "MetaImageIO"
    if looks_like_headless_dicom(head):
        return "dicom"
    raise UnreadableClip("neither DICOM, MP4, MOV, AVI, MKV, MHA, MHD, NRRD nor NPZ")


def _read_npz(path: Path, max_frames: int | None) -> RawClip:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "frames" not in arrays:
                raise UnreadableClip("the NPZ has no array 'frames'")
            frames = arrays["frames"]
            mm_per_px = float(arrays["mm_per_px"]) if "mm_per_px" in arrays else None
    except zipfile.BadZipFile:
        raise UnreadableClip("damaged npz file (BadZipFile)") from None
    if frames.ndim not in (3, 4) or (frames.ndim == 4 and frames.shape[3] != 3):
        raise UnreadableClip(f"the NPZ's frames have shape {frames.shape}, not (F, H, W) or (F, H, W, 3)")
    chosen = frames[even_indices(len(frames), max_frames)]
    return RawClip(to_uint8(chosen), "npz", len(frames), checked_mm_per_px(mm_per_px))
