from __future__ import annotations

import io
import os
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from fan_clips import MM_PER_PX, FanClip, fan_frames, row, write_video
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import set_pixel_data
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.sources.raw_clip import RawClip, Region, UnreadableClip
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    write_phantom([FanClip(row(0), FRAMES)], tmp_path)
    return tmp_path / "clips" / "000000.dcm"


def with_pixels(
    dicom: Path, pixels: np.ndarray, photometric: str, bits: int = 8, **changes: object
) -> Path:
    dataset = pydicom.dcmread(dicom)
    set_pixel_data(dataset, pixels, photometric, bits)
    for name, value in changes.items():
        setattr(dataset, name, value)
    path = dicom.with_name("pixels")
    dataset.save_as(path)
    return path


def of_pydicom(name: str) -> RawClip:
    """A file that pydicom ships."""
    return read_clip(Path(get_testdata_file(name, download=False)))


def test_dicom_states_its_spacing_and_region(dicom: Path) -> None:
    clip = read_clip(dicom)
    np.testing.assert_array_equal(clip.frames, FRAMES)
    assert (clip.source, clip.source_frames, clip.pixel_aspect) == ("dicom", 12, 1.0)
    assert clip.mm_per_px == pytest.approx(MM_PER_PX)  # from cm
    assert clip.region == Region(0, 0, 112, 96)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_native_transfer_syntaxes(dicom: Path, syntax: pydicom.uid.UID) -> None:
    dataset = pydicom.dcmread(dicom)
    dataset.file_meta.TransferSyntaxUID = syntax
    path = dicom.with_name("IM_0001")  # no extension, as many archives write it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(
            path, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian
        )
    np.testing.assert_array_equal(read_clip(path).frames, FRAMES)


def encapsulate_frames(
    dataset: pydicom.Dataset, syntax: pydicom.uid.UID, image_format: str, **options: object
) -> None:
    buffers = [io.BytesIO() for _ in FRAMES]
    for buffer, frame in zip(buffers, FRAMES, strict=True):
        Image.fromarray(frame).save(buffer, image_format, **options)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([buffer.getvalue() for buffer in buffers])
    dataset["PixelData"].is_undefined_length = True


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_transfer_syntaxes(dicom: Path, syntax: pydicom.uid.UID) -> None:
    dataset = pydicom.dcmread(dicom)
    if syntax == JPEG2000Lossless:  # pydicom has no encoder of its own for it
        encapsulate_frames(dataset, syntax, "JPEG2000", irreversible=False, no_jp2=True)
    else:
        dataset.compress(syntax)
    dataset.save_as(dicom)
    clip = read_clip(dicom, max_frames=3)
    np.testing.assert_array_equal(clip.frames, FRAMES[[0, 6, 11]])
    assert clip.source_frames == 12


def test_jpeg_baseline(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    encapsulate_frames(dataset, JPEGBaseline8Bit, "JPEG", quality=95)
    dataset.save_as(dicom)
    assert np.abs(read_clip(dicom).frames.astype(int) - FRAMES).mean() < 2


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_implicit.dcm",
    ],
)
def test_pydicoms_own_files_agree(name: str) -> None:
    np.testing.assert_array_equal(of_pydicom(name).frames, of_pydicom("MR_small.dcm").frames)


def test_ybr_is_shown_as_rgb() -> None:
    rgb = of_pydicom("SC_rgb_dcmtk_+eb+cr.dcm").frames.astype(int)
    for name in (
        "SC_ybr_full_422_uncompressed.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
    ):
        assert np.abs(of_pydicom(name).frames - rgb).mean() < 4, (
            name
        )  # without conversion above 100


def test_palette_colour(dicom: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16) * 257  # 16-bit entries, as the standard has them
    dataset = pydicom.dcmread(dicom)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for colour, divisor in (("Red", 1), ("Green", 1), ("Blue", 2)):
        name = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{name}Descriptor", "US", [256, 0, 16])
        setattr(dataset, f"{name}Data", (ramp // divisor).tobytes())
    path = dicom.with_name("palette")
    dataset.save_as(path)
    frames = read_clip(path).frames
    np.testing.assert_array_equal(frames[..., 0], FRAMES)
    np.testing.assert_array_equal(frames[..., 2], (FRAMES.astype(int) * 257 // 2) >> 8)


def test_monochrome1_is_inverted(dicom: Path) -> None:
    np.testing.assert_array_equal(
        read_clip(with_pixels(dicom, FRAMES, "MONOCHROME1")).frames, 255 - FRAMES
    )


def test_16_bits_are_scaled_over_the_clip_and_windowed(dicom: Path) -> None:
    deep = FRAMES.astype(np.uint16) * 100
    frames = read_clip(with_pixels(dicom, deep, "MONOCHROME2", 16)).frames
    np.testing.assert_array_equal(frames, np.rint(deep * (255 / deep.max())))
    windowed = read_clip(
        with_pixels(dicom, deep, "MONOCHROME2", 16, WindowCenter=5000, WindowWidth=2000)
    ).frames
    assert (windowed[deep < 4000] == 0).all()
    assert (windowed[deep > 6000] == 255).all()


def test_16_bit_colour_keeps_its_full_scale(dicom: Path) -> None:
    deep = np.repeat((FRAMES.astype(np.uint16) * 257 // 2)[..., None], 3, axis=-1)
    np.testing.assert_array_equal(
        read_clip(with_pixels(dicom, deep, "RGB", 16)).frames[..., 1], deep[..., 1] >> 8
    )


def test_dicom_without_preamble(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    bare = Dataset(dataset)  # no file meta: nothing says what syntax this is
    path = dicom.with_name("bare")
    pydicom.dcmwrite(path, bare, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert path.read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read_clip(path).frames, FRAMES)


@pytest.mark.parametrize(
    ("edge", "value"), [("MaxX1", 300), ("MaxY1", 300), ("MinX0", 110), ("MinY0", 90)]
)
def test_region_that_leaves_the_frame_is_ignored_with_its_spacing(
    dicom: Path, edge: str, value: int
) -> None:
    clip = of_pydicom("examples_ybr_color.dcm")
    assert clip.frames.shape == (30, 240, 320, 3)
    assert clip.region is None
    assert clip.mm_per_px is None
    dataset = pydicom.dcmread(dicom)
    setattr(dataset.SequenceOfUltrasoundRegions[0], f"RegionLocation{edge}", value)
    dataset.save_as(dicom)
    assert read_clip(dicom).mm_per_px is None


def test_largest_2d_region_counts_and_pixels_may_be_tall(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    region = dataset.SequenceOfUltrasoundRegions[0]
    small, trace = deepcopy(region), deepcopy(region)
    small.RegionLocationMaxX1, small.PhysicalDeltaX = 40, 9.0
    trace.RegionSpatialFormat, trace.PhysicalDeltaX = 3, 9.0
    region.RegionLocationMinX0, region.PhysicalDeltaX, region.PhysicalDeltaY = (
        4,
        -0.05,
        0.1,
    )  # mirrored, and tall
    dataset.SequenceOfUltrasoundRegions = [small, trace, region]
    dataset.save_as(dicom)
    clip = read_clip(dicom)
    assert clip.region == Region(4, 0, 112, 96)
    assert (clip.mm_per_px, clip.pixel_aspect) == (0.5, 2.0)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mjpeg")],
)
def test_videos(tmp_path: Path, name: str, codec: str) -> None:
    write_video(tmp_path / name, FRAMES, codec)
    misnamed = (tmp_path / name).rename(tmp_path / "clip.dcm")
    clip = read_clip(misnamed)
    assert clip.frames.shape == (12, 96, 112, 3)
    assert clip.mm_per_px is None
    assert np.abs(clip.frames[..., 0].astype(int) - FRAMES).mean() < 5
    np.testing.assert_array_equal(read_clip(misnamed, max_frames=3).frames, clip.frames[[0, 6, 11]])


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
def test_volumes(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(FRAMES)
    image.SetSpacing((0.4, 0.6, 1.0))
    sitk.WriteImage(image, str(tmp_path / f"clip{suffix}"), suffix != ".mhd")
    path = (tmp_path / f"clip{suffix}").rename(tmp_path / "clip.bin")
    clip = read_clip(path, max_frames=2)
    np.testing.assert_array_equal(clip.frames, FRAMES[[0, 11]])
    assert (clip.source_frames, clip.mm_per_px, clip.pixel_aspect) == (12, 0.4, pytest.approx(1.5))


def test_unit_spacing_of_a_volume_means_unknown(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(tmp_path / "clip.mha"))
    assert read_clip(tmp_path / "clip.mha").mm_per_px is None


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=FRAMES, mm_per_px=0.7)
    np.savez(tmp_path / "b.npz", frames=FRAMES / 1000.0, mm_per_px=np.nan)
    assert read_clip(tmp_path / "a.npz").mm_per_px == 0.7
    clip = read_clip(tmp_path / "b.npz", max_frames=4)
    assert clip.mm_per_px is None
    assert (clip.frames.dtype, clip.frames.max(), len(clip.frames)) == (np.uint8, 255, 4)


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
        ("text", "neither DICOM, MP4, MOV, AVI, MKV, MHA, MHD, NRRD nor NPZ"),
        ("absent", "no such file"),
        ("folder", "cannot be opened"),
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


def test_header_values_are_not_logged(
    dicom: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    sop_class, character_set = b"\x08\x00\x16\x00UI", b"\x08\x00\x05\x00CS\x0a\x00MUSTERFRAU"
    dicom.write_bytes(dicom.read_bytes().replace(sop_class, character_set + sop_class))
    pydicom.dcmread(dicom)
    assert "MUSTERFRAU" in caplog.text + "".join(str(warning.message) for warning in recwarn)
    caplog.clear()
    recwarn.clear()
    np.testing.assert_array_equal(read_clip(dicom).frames, FRAMES)
    assert not caplog.records
    assert not list(recwarn)


@pytest.mark.skipif(
    "BSOU_CLIPS" not in os.environ, reason="BSOU_CLIPS names no folder of real clips"
)
def test_real_freehand_sweep() -> None:
    clip = read_clip(Path(os.environ["BSOU_CLIPS"]) / "freehand-spine-phantom.igs.mha")
    assert isinstance(clip, RawClip)
    assert (clip.frames.shape, clip.mm_per_px) == ((21, 616, 820), None)
