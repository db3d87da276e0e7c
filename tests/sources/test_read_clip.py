from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from fan_clips import fan_frames, write_video
from pydicom.uid import (
    RLELossless,
)

from bsou_dist.sources.raw_clip import (
    UnreadableClip,
)
from bsou_dist.sources.read_clip import read_clip, refuse_outside

FRAMES = fan_frames()  # (12, 96, 112)


def _mistake(kind: str, path: Path, dicom: Path) -> None:
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("Dear colleague, the clip of Mrs Musterfrau is attached.\n" * 20)
    elif kind == "short DICOM":
        path.write_bytes(dicom.read_bytes()[:-5000])
    elif kind == "no picture":
        dataset = pydicom.dcmread(dicom)
        del dataset.Rows, dataset.PixelData
        dataset.save_as(path)
    elif kind == "no pixels":
        dataset = pydicom.dcmread(dicom)
        del dataset.PixelData
        dataset.save_as(path)
    elif kind == "private syntax":
        dataset = pydicom.dcmread(dicom)
        dataset.compress(RLELossless)
        dataset.file_meta.TransferSyntaxUID = "1.2.3.4.5"
        dataset.save_as(path, implicit_vr=False, little_endian=True)
    elif kind in ("MP4 without index", "short MP4"):
        options = {"movflags": "faststart"} if kind == "short MP4" else {}
        write_video(path.with_name("whole.mp4"), FRAMES, **options)
        whole = path.with_name("whole.mp4").read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
    elif kind == "zip":
        path.write_bytes(b"PK\x03\x04" + bytes(100))
    elif kind == "NPZ of something":
        with path.open("wb") as file:
            np.savez(file, pictures=FRAMES)
    elif kind == "short MHA":
        sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(path.with_name("whole.mha")))
        path.write_bytes(path.with_name("whole.mha").read_bytes()[:20000])
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "empty file (0 bytes)"),
        ("text", "neither DICOM, MP4, MOV, AVI, MKV, GIF, MHA, MHD, NRRD nor NPZ"),
        ("absent", "no such file"),
        ("folder", "a folder without numbered images"),
        ("short DICOM", "incomplete or damaged"),
        ("no picture", "without a picture"),
        ("no pixels", "incomplete or damaged"),
        ("private syntax", "transfer syntax unknown"),
        ("MP4 without index", "truncated or damaged video"),
        ("short MP4", "truncated or damaged video"),
        ("zip", "damaged npz file"),
        ("NPZ of something", "no array 'frames'"),
        ("short MHA", "incomplete or damaged"),
    ],
)
def test_mistakes_have_a_reason(tmp_path: Path, dicom: Path, kind: str, reason: str) -> None:
    path = tmp_path / "clip.dcm"
    _mistake(kind, path, dicom)
    with pytest.raises(UnreadableClip) as raised:
        read_clip(path)
    assert reason in str(raised.value)
    assert "MUSTERFRAU" not in str(raised.value).upper()
    assert str(tmp_path) not in str(raised.value)


def test_names_may_be_of_any_script(tmp_path: Path, dicom: Path) -> None:
    folder = tmp_path / "Überweisung 产科 حمل"
    folder.mkdir()
    write_video(folder / "a.mp4", FRAMES)
    sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(folder / "a.mha"))
    np.savez(folder / "a.npz", frames=FRAMES)
    dicom.rename(folder / "a.dcm")
    for suffix in ("mp4", "mha", "npz", "dcm"):
        unusual = (folder / f"a.{suffix}").rename(folder / f"Člïp. {suffix} — №1")
        assert len(read_clip(unusual).frames) == 12, suffix
        latin_1 = unusual.rename(folder / f"caf\udce9 {suffix}")
        assert len(read_clip(latin_1).frames) == 12, suffix


def test_a_link_may_not_lead_out_of_the_cohort(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "cohort", tmp_path / "elsewhere"
    (root / "deep").mkdir(parents=True)
    elsewhere.mkdir()
    for folder in (root, elsewhere):
        np.savez(folder / "a.npz", frames=FRAMES)
    (root / "deep" / "inside.npz").symlink_to("../a.npz")
    (root / "outside.npz").symlink_to("../elsewhere/a.npz")
    (root / "folder").symlink_to(elsewhere)
    (root / "circle.npz").symlink_to("circle.npz")
    (tmp_path / "linked").symlink_to(root)
    for name in ("a.npz", "deep/inside.npz", "gone.npz"):
        refuse_outside(root / name, root)
        refuse_outside(tmp_path / "linked" / name, tmp_path / "linked")
    for name in ("outside.npz", "folder/a.npz", "../elsewhere/a.npz"):
        with pytest.raises(UnreadableClip, match="leads out of the cohort's folder"):
            refuse_outside(root / name, root)
    with pytest.raises(UnreadableClip):
        read_clip(root / "circle.npz")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    pipe = os.open(tmp_path / "a.mp4", os.O_RDWR)
    os.write(pipe, bytes(4096))  # so that who reads all the same is told, and does not wait
    with pytest.raises(UnreadableClip, match="it is no file"):
        read_clip(tmp_path / "a.mp4")
    os.close(pipe)
