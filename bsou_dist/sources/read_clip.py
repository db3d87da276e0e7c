"""One door for every kind of clip file, which goes by its content and never by its name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.sources.dicom import looks_like_headless_dicom, read_dicom
from bsou_dist.sources.images import read_images
from bsou_dist.sources.npz import read_npz
from bsou_dist.sources.raw_clip import (
    RawClip,
    UnreachableClip,
    UnreadableClip,
    even_indices,
)
from bsou_dist.sources.video import read_video
from bsou_dist.sources.volume import VolumeKind, read_volume

FileKind = Literal["dicom", "video", "npz", "images"] | VolumeKind

_BLACK_LEVEL = 2  # a lossy codec's black may be no 0
_HELD_FRAMES = 512
_SNIFFED_BYTES = 4096
_STDERR = 2
_ISO_BOXES = (  # first box of MP4 and MOV
    b"ftyp",
    b"styp",
    b"moov",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
    b"uuid",
    b"pnot",
)
_GIF_MARKS = (b"GIF87a", b"GIF89a")
_EBML_MARK = b"\x1a\x45\xdf\xa3"  # of Matroska
_ZIP_MARK = b"PK\x03\x04"


def read_clip(
    path: Path,
    max_frames: int | None = None,
    wanted_mm_per_px: float | None = None,
    part: FrameRange | None = None,
) -> RawClip:
    """Read a clip from DICOM (any name), MP4, MOV, AVI, MKV, GIF, MHA, MHD, NRRD, NPZ or images.

    Args:
        path: the file, or a folder of numbered images. An NPZ holds `frames`, (F, H, W) or
            (F, H, W, 1 to 4), and maybe `mm_per_px`.
        max_frames: keep at most so many frames, evenly chosen; the others are not held in memory.
        wanted_mm_per_px: what is needed of the pictures, if that is known: where decoding saves by
            it, they come shrunk by 2 (with pixels no larger than this, mm), and grey where they
            show no colour.
        part: the frames of the file that are the clip, where not all are. Black ones at either end
            of it are not: writers fill parts up to one length.

    Raises:
        UnreadableClip: whatever is wrong with the file, in words that quote nothing out of it.
        UnreachableClip: it is not there or cannot be opened, maybe not any more.
        MemoryError: it needs more than there is.
    """
    # Not Path.is_dir, which raises where a folder above may not be entered.
    kind = "images" if os.path.isdir(path) else _kind_of(_first_bytes(path))
    try:
        with _standard_error_silenced():
            if part is None:
                return _read(path, kind, max_frames, wanted_mm_per_px)
            return _read_part(path, kind, max_frames, wanted_mm_per_px, part)
    except MemoryError:  # the caller's to limit, and to tell of
        raise
    except Exception as error:
        if not os.path.isdir(path):
            _first_bytes(path)  # raises if a file server went away meanwhile, which is no damage
        if isinstance(error, UnreadableClip):
            raise
        # Decoders raise anything on damaged files, and their messages may quote patient data.
        raise UnreadableClip(f"damaged {kind} file ({type(error).__name__})") from error


def _read(
    path: Path,
    kind: FileKind,
    max_frames: int | None,
    wanted_mm_per_px: float | None,
    part: FrameRange | None = None,
) -> RawClip:
    """Read a file of a known kind."""
    if kind == "dicom":
        return read_dicom(path, max_frames, wanted_mm_per_px, part)
    if kind == "video":
        return read_video(path, max_frames, grey=wanted_mm_per_px is not None, part=part)
    if kind == "npz":
        return read_npz(path, max_frames, part)
    if kind == "images":
        return read_images(path, max_frames, part)
    return read_volume(path, kind, max_frames, part)


def _read_part(
    path: Path,
    kind: FileKind,
    max_frames: int | None,
    wanted_mm_per_px: float | None,
    part: FrameRange,
) -> RawClip:
    """Read a part of a file without black frames at its ends."""
    # Where to choose frames evenly is known when the ends are. A stack is unpacked from its
    # beginning each time that it is read, so few frames are held all at once.
    if kind in ("MetaImage", "NRRD") and len(part) <= _HELD_FRAMES:
        return _without_black_ends(_read(path, kind, None, wanted_mm_per_px, part), max_frames)
    clip = _read(path, kind, max_frames, wanted_mm_per_px, part)
    if not _is_black(clip.frames[[0, -1]]).any():
        return clip
    return _without_black_ends(_read(path, kind, None, wanted_mm_per_px, part), max_frames)


def _is_black(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which frames, (F, ...), show nothing, (F,)."""
    return frames.reshape(len(frames), -1).max(axis=1) <= _BLACK_LEVEL


def _without_black_ends(clip: RawClip, max_frames: int | None) -> RawClip:
    """All frames of a part without the black ones before and after the others, and of these few.

    Raises:
        UnreadableClip: all of them are black.
    """
    [lit] = np.nonzero(~_is_black(clip.frames))
    if not len(lit):
        raise UnreadableClip("all frames of its part of the file are black")
    first = int(lit[0])
    count = int(lit[-1]) + 1 - first
    chosen = [first + place for place in even_indices(count, max_frames)]
    return replace(clip, frames=clip.frames[chosen], source_frames=count)


@contextmanager
def _standard_error_silenced() -> Iterator[None]:
    """Silence decoders in C, which complain of damaged files and may quote their headers."""
    kept = os.dup(_STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)


def refuse_outside(path: Path, root: Path) -> None:
    """Refuse a `path` that leads out of the folder `root`, through a link or otherwise.

    A link may point at any file of the machine, whose picture would then be packed.

    Raises:
        UnreadableClip: it leads out, or nowhere.
    """
    try:
        is_inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        is_inside = False
    if not is_inside:
        raise UnreadableClip("it is a link that leads out of the cohort's folder")


def _first_bytes(path: Path) -> bytes:
    """The beginning of a file; UnreachableClip if it is not there, UnreadableClip if empty."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe is to wait for ever
            raise UnreadableClip("cannot be opened (it is no file)")
        with path.open("rb") as file:
            head = file.read(_SNIFFED_BYTES)
    except FileNotFoundError:
        raise UnreachableClip("no such file") from None
    except OSError as error:
        raise UnreachableClip(f"cannot be opened ({type(error).__name__})") from None
    if not head:
        raise UnreadableClip("empty file (0 bytes)")
    return head


def _kind_of(head: bytes) -> FileKind:
    """The format of a file that begins so."""
    if head[128:132] == b"DICM":
        return "dicom"
    is_mp4 = head[4:8] in _ISO_BOXES
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    if is_mp4 or is_avi or head.startswith((_EBML_MARK, *_GIF_MARKS)):
        return "video"
    if head.startswith(_ZIP_MARK):
        return "npz"
    if head.startswith(b"NRRD"):
        return "NRRD"
    is_plain_meta_image = b"NDims" in head and b"ElementType" in head
    is_typed_meta_image = b"ObjectType" in head and b"Image" in head
    if is_plain_meta_image or is_typed_meta_image:
        return "MetaImage"
    if looks_like_headless_dicom(head):
        return "dicom"
    raise UnreadableClip("neither DICOM, MP4, MOV, AVI, MKV, GIF, MHA, MHD, NRRD nor NPZ")
