"""Every reader gives the pixels of its file or a reason, never what memory held before.

A library that fills an array from a file too short for it leaves in the rest what lay there: the
clip read before, which is another patient's. Each file here is read after another clip and in
memory filled otherwise, twice, and must be the same or be refused.

BSOU_FUZZ=1000 damages every kind of file so many times in other ways too.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from pathlib import Path

import fuzzed
import numpy as np
import pydicom
import pytest
from fan_clips import fan_frames
from pydicom.filebase import DicomBytesIO

from bsou_dist.common.worker_pool import Limits, Lost, ordered_map
from bsou_dist.sources.raw_clip import UnreadableClip
from bsou_dist.sources.read_clip import read_clip

M_PERTURB = -6
"""Of glibc's `mallopt`: what memory is filled with when it is handed out; 0 is not at all."""
LIMITS = Limits(seconds=60.0, memory_mb=4096)
DAMAGES = int(os.environ.get("BSOU_FUZZ", "1"))
CUTS = (0.5, 0.97)

Request = tuple[Path, Path, Path]
"""A file, and two others of its kind that are read before it."""


def _read_after(path: Path, before: Path, fill: int) -> str:
    """Digest of a file's clip, or why it is none, read after another one in memory so filled."""
    ctypes.CDLL(None).mallopt(M_PERTURB, fill)
    read_clip(before)
    try:
        clip = read_clip(path)
    except UnreadableClip as error:
        return str(error)
    finally:
        ctypes.CDLL(None).mallopt(M_PERTURB, 0)
    return f"{clip.frames.shape} {hashlib.sha256(clip.frames.tobytes()).hexdigest()}"


def _read_twice(request: Request) -> tuple[str, str]:
    path, before, before_again = request
    return _read_after(path, before, 1), _read_after(path, before_again, 254)


def cut_short(whole: bytes) -> dict[str, bytes]:
    """The file without its end, by how much of it is left."""
    return {f"{share:.0%}": whole[: int(len(whole) * share)] for share in CUTS} | {
        f"all but {count} bytes": whole[:-count] for count in (1, 100)
    }


def over_claimed(kind: str, whole: bytes) -> dict[str, bytes]:
    """The file with a header that claims more than there is, or does not say how much there is."""
    if kind.endswith("mha"):
        lines = whole.split(b"\n")
        sizeless = b"\n".join(line for line in lines if b"CompressedDataSize" not in line)
        return {
            "no packed size": sizeless,
            "no packed size, a frame more": sizeless.replace(b"112 96 12", b"112 96 13"),
            "a row more": whole.replace(b"112 96 12", b"112 97 12"),
            "a frame more": whole.replace(b"112 96 12", b"112 96 13"),
        }
    if kind.endswith("nrrd"):
        return {
            "a row more": whole.replace(b"112 96 12", b"112 97 12"),
            "a frame more": whole.replace(b"112 96 12", b"112 96 13"),
        }
    if kind.startswith(("a.", "images")):
        return {}
    changes: dict[str, dict[str, int]] = {
        "a frame more": {"NumberOfFrames": 13},
        "twice the frames": {"NumberOfFrames": 24},
        "rows more": {"Rows": 104},
        "columns more": {"Columns": 120},
        "another channel": {"SamplesPerPixel": 3},
        "wider numbers": {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15},
    }
    return {name: _changed(whole, values) for name, values in changes.items()}


def _changed(whole: bytes, values: dict[str, int]) -> bytes:
    dataset = pydicom.dcmread(DicomBytesIO(whole))
    for name, value in values.items():
        setattr(dataset, name, value)
    buffer = DicomBytesIO()
    pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()


def _before(folder: Path, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of each kind with other frames."""
    folder.mkdir()
    monkeypatch.setattr(fuzzed, "FRAMES", frames)
    for kind, content in fuzzed.whole_files(folder).items():
        fuzzed.write_clip(folder / kind, kind, content)
    return folder


def test_readers_give_the_files_own_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole").mkdir()
    whole = fuzzed.whole_files(tmp_path / "whole")
    before = _before(tmp_path / "a", 255 - fan_frames(), monkeypatch)
    before_again = _before(tmp_path / "b", np.roll(fan_frames(), 40, axis=1), monkeypatch)
    random = np.random.default_rng(5)
    contents = {}
    for kind, content in whole.items():
        files = {"whole": content} | cut_short(content) | over_claimed(kind, content)
        for number in range(DAMAGES):
            files[f"damage {number}"] = fuzzed.damaged(content, content, random)
        contents |= {(kind, name): data for name, data in files.items()}
    requests = []
    for number, ((kind, _), data) in enumerate(contents.items()):
        path = tmp_path / str(number)
        fuzzed.write_clip(path, kind, data)
        requests.append((path, before / kind, before_again / kind))
    found = dict(zip(contents, ordered_map(_read_twice, requests, 2, LIMITS), strict=True))
    twice = {name: pair for name, pair in found.items() if not isinstance(pair, Lost)}
    differing = {name: pair for name, pair in twice.items() if pair[0] != pair[1]}
    assert differing == {}
    assert len(twice) > 0.98 * len(found)
    assert all(twice[kind, "whole"][0].startswith("(12, 96, 112") for kind in whole)
