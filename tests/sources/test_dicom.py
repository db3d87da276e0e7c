"""DICOM as scanners and archives write it."""

from __future__ import annotations

import io
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from fan_clips import MM_PER_PX, fan_frames
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

from bsou_dist.sources.raw_clip import RawClip, Region, even_indices
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()  # (12, 96, 112)
COLOURS = np.stack([FRAMES, FRAMES // 2, 255 - FRAMES], axis=-1)


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
        difference = np.abs(of_pydicom(name).frames - rgb)
        assert difference.mean() < 4, name  # without conversion above 100


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
    clip = read_clip(with_pixels(dicom, FRAMES, "MONOCHROME1"))
    np.testing.assert_array_equal(clip.frames, 255 - FRAMES)


def test_16_bits_are_windowed(dicom: Path) -> None:
    deep = FRAMES.astype(np.uint16) * 100
    window = {"WindowCenter": 5000, "WindowWidth": 2000}
    windowed = read_clip(with_pixels(dicom, deep, "MONOCHROME2", 16, **window)).frames
    assert (windowed[deep < 4000] == 0).all()
    assert (windowed[deep > 6000] == 255).all()


def test_16_bit_colour_keeps_its_full_scale(dicom: Path) -> None:
    deep = np.repeat((FRAMES.astype(np.uint16) * 257 // 2)[..., None], 3, axis=-1)
    clip = read_clip(with_pixels(dicom, deep, "RGB", 16))
    np.testing.assert_array_equal(clip.frames[..., 1], deep[..., 1] >> 8)


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
    small.RegionLocationMaxX1 = 40
    small.PhysicalDeltaX = 9.0
    trace.RegionSpatialFormat = 3
    trace.PhysicalDeltaX = 9.0
    region.RegionLocationMinX0 = 4
    region.PhysicalDeltaX = -0.05  # mirrored
    region.PhysicalDeltaY = 0.1  # and tall
    dataset.SequenceOfUltrasoundRegions = [small, trace, region]
    dataset.save_as(dicom)
    clip = read_clip(dicom)
    assert clip.region == Region(4, 0, 112, 96)
    assert (clip.mm_per_px, clip.pixel_aspect) == (0.5, 2.0)


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


def test_a_dicom_may_say_when_each_frame_was_taken(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    dataset.FrameTimeVector = [0, 10, 10, 10, 10, 10, 10, 10, 10, 100, 100, 120]
    dataset.save_as(dicom)
    np.testing.assert_array_equal(read_clip(dicom, max_frames=5).frames, FRAMES[[0, 8, 9, 10, 11]])
    dataset.FrameTimeVector = [0, 10, 10]  # of some other clip
    dataset.save_as(dicom)
    np.testing.assert_array_equal(
        read_clip(dicom, max_frames=5).frames, FRAMES[even_indices(12, 5)]
    )


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLSLossless, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("kind", ["grey 16 bit", "RGB", "RGB, planes apart"])
def test_dicom_of_every_kind_of_pixels_in_every_syntax(
    dicom: Path, kind: str, syntax: pydicom.uid.UID
) -> None:
    dataset = pydicom.dcmread(dicom)
    if kind == "grey 16 bit":
        set_pixel_data(dataset, FRAMES.astype(np.uint16) * 257, "MONOCHROME2", 16)
        expected = FRAMES
    else:
        set_pixel_data(dataset, COLOURS, "RGB", 8)
        expected = COLOURS
    if syntax in (RLELossless, JPEGLSLossless):
        dataset.compress(syntax)
        if kind == "RGB, planes apart":
            # What makers write; each syntax has its own order of planes.
            dataset.PlanarConfiguration = 1
        dataset.save_as(dicom)
    else:
        if kind == "RGB, planes apart":
            dataset.PlanarConfiguration = 1
            dataset.PixelData = np.moveaxis(COLOURS, -1, 1).tobytes()
        if kind == "grey 16 bit" and syntax == ExplicitVRBigEndian:
            dataset.PixelData = (FRAMES.astype(">u2") * 257).astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(dicom, dataset, implicit_vr=False, little_endian=syntax.is_little_endian)
    clip = read_clip(dicom, max_frames=5)
    np.testing.assert_array_equal(clip.frames, expected[even_indices(12, 5)])


def test_a_palette_may_be_in_segments(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    # Discrete: one entry, 0; linear: 255 entries, up to 65280.
    ramp = np.array([0, 1, 0, 1, 255, 65280], "<u2")
    for colour in ("Red", "Green", "Blue"):
        dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", ramp.tobytes())
    dataset.save_as(dicom)
    np.testing.assert_array_equal(read_clip(dicom).frames, np.repeat(FRAMES[..., None], 3, axis=-1))
