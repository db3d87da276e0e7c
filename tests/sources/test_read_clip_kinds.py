"""A table of the kinds of file that are read: a small one of each, and what must come out of it.

The other files beside this one try each kind at length. This one is where to look up whether a kind
is read, and where a new one begins.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pydicom
import pytest
from fan_clips import fan_frames, write_video
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import set_pixel_data
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from source_files import (
    as_jpegs,
    with_box_in_front,
    with_edit_list,
    with_empty_chunks,
    with_fragments,
    with_numbers,
    without_segments,
    write_gif,
)

from bsou_dist.sources.raw_clip import Region, UnreadableClip
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames(count=6, height=48, width=56)
COUNT, HEIGHT, WIDTH = FRAMES.shape
GREY_IN_COLOUR = np.repeat(FRAMES[..., None], 3, axis=-1)
TINTED = (FRAMES[..., None] * np.array([1.0, 0.9, 0.6])).astype(np.uint8)
LOSSY = 4.0
"""Levels of grey by which a lossy file's frames may differ on average."""


class Kind(NamedTuple):
    """How a file is written, and what is read out of it."""

    write: Callable[[Path], Path]
    frames: np.ndarray = FRAMES
    mm_per_px: float | None = None
    aspect: float = 1.0
    scale_source: str | None = None
    tolerance: float = 0.0
    notes: tuple[str, ...] = ()
    region: Region | None = None


def header(syntax: UID = ExplicitVRLittleEndian, **elements: object) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    set_pixel_data(dataset, FRAMES, "MONOCHROME2", 8, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def saved(dataset: Dataset, folder: Path) -> Path:
    syntax = dataset.file_meta.TransferSyntaxUID
    pydicom.dcmwrite(
        folder / "IM0001",
        dataset,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
        enforce_file_format=True,
    )
    return folder / "IM0001"


def dicom(syntax: UID = ExplicitVRLittleEndian, **elements: object) -> Callable[[Path], Path]:
    return lambda folder: saved(header(syntax, **elements), folder)


def dicom_of(
    pixels: np.ndarray, photometric: str, bits: int = 8, **elements: object
) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        dataset = header()
        set_pixel_data(dataset, pixels, photometric, bits)
        for name, value in elements.items():
            setattr(dataset, name, value)
        return saved(dataset, folder)

    return write


def compressed(syntax: UID) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        dataset = header()
        dataset.compress(syntax)
        return saved(dataset, folder)

    return write


def jpeg_2000(folder: Path) -> Path:
    pictures = []
    for frame in FRAMES:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
        pictures.append(buffer.getvalue())
    dataset = header(JPEG2000Lossless, PixelData=encapsulate(pictures))
    dataset["PixelData"].is_undefined_length = True
    return saved(dataset, folder)


def headless(folder: Path) -> Path:
    dataset = Dataset(header())
    pydicom.dcmwrite(folder / "a", dataset, implicit_vr=True, little_endian=True)
    return folder / "a"


def jpegs(
    offsets: list[int] | None = None, *, joined: bool = False, **elements: object
) -> Callable[[Path], Path]:
    """Grey JPEG; `offsets` replace the table."""

    def write(folder: Path) -> Path:
        pictures = [picture + bytes(len(picture) % 2) for picture in as_jpegs(FRAMES)]
        fragments = [b"".join(pictures)] if joined else pictures
        return with_fragments(saved(header(), folder), fragments, offsets or [], **elements)

    return write


def coloured_jpegs(label: str, *, is_rgb: bool) -> Callable[[Path], Path]:
    """JPEGs of RGB or of YCbCr without any mark, and what their header calls them."""

    def write(folder: Path) -> Path:
        pictures = []
        for frame in TINTED:
            buffer = io.BytesIO()
            form = {"keep_rgb": True} if is_rgb else {"subsampling": "4:4:4"}
            Image.fromarray(frame).save(buffer, "JPEG", quality=95, **form)
            old = b"RGB" if is_rgb else bytes([1, 2, 3])
            bare = without_segments(buffer.getvalue())
            pictures.append(with_numbers(bare, old, bytes([0, 1, 2])))
        dataset = header()
        set_pixel_data(dataset, TINTED, "RGB", 8)
        path = saved(dataset, folder)
        return with_fragments(path, pictures, [], PhotometricInterpretation=label)

    return write


def shared_chroma(folder: Path) -> Path:
    pairs = np.full((COUNT, HEIGHT, WIDTH // 2, 4), 128, np.uint8)
    pairs[..., 0], pairs[..., 1] = FRAMES[:, :, ::2], FRAMES[:, :, 1::2]
    dataset = header()
    set_pixel_data(dataset, GREY_IN_COLOUR, "RGB", 8)
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.PixelData = pairs.tobytes()
    return saved(dataset, folder)


def palette(bits: int, dtype: str, *, is_big_endian: bool = False) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        entries = np.arange(256) * (257 if bits == 16 else 1)
        dataset = header(ExplicitVRBigEndian if is_big_endian else ExplicitVRLittleEndian)
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        for colour in ("Red", "Green", "Blue"):
            name = f"{colour}PaletteColorLookupTable"
            dataset.add_new(f"{name}Descriptor", "US", [256, 0, bits])
            dataset.add_new(f"{name}Data", "OW", entries.astype(dtype).tobytes())
        return saved(dataset, folder)

    return write


def region(x0: int, x1: int, mm: float, data_type: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = 1, data_type
    item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, 0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1 - 1, HEIGHT - 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = mm / 10
    return item


def functional_groups(spacing: list[float]) -> Sequence:
    measures, groups = Dataset(), Dataset()
    measures.PixelSpacing = spacing
    groups.PixelMeasuresSequence = Sequence([measures])
    return Sequence([groups])


def meta_image(*lines: str, data: bytes = FRAMES.tobytes()) -> Callable[[Path], Path]:
    sizes = f"DimSize = {WIDTH} {HEIGHT} {COUNT}"

    def write(folder: Path) -> Path:
        own = {line.split(" = ")[0] for line in lines}
        usual = ["ObjectType = Image", "NDims = 3", sizes, "ElementType = MET_UCHAR"]
        kept = [line for line in usual if line.split(" = ")[0] not in own]
        header_lines = [*kept, *lines, "ElementDataFile = LOCAL"]
        (folder / "a.mha").write_bytes("\n".join(header_lines).encode() + b"\n" + data)
        return folder / "a.mha"

    return write


def with_pixels_beside(folder: Path) -> Path:
    path = meta_image()(folder)
    text = path.read_bytes().split(b"LOCAL")[0]
    (folder / "a.mhd").write_bytes(text + b"a.raw\n")
    (folder / "a.raw").write_bytes(FRAMES.tobytes())
    return folder / "a.mhd"


def nrrd(
    *lines: str,
    sizes: str = f"{WIDTH} {HEIGHT} {COUNT}",
    encoding: str = "raw",
    data: bytes = FRAMES.tobytes(),
) -> Callable[[Path], Path]:
    dimension = len(sizes.split())
    header_lines = [
        "NRRD0004",
        "type: uint8",
        f"dimension: {dimension}",
        f"sizes: {sizes}",
        f"encoding: {encoding}",
        *lines,
    ]

    def write(folder: Path) -> Path:
        (folder / "a.nrrd").write_bytes("\n".join(header_lines).encode() + b"\n\n" + data)
        return folder / "a.nrrd"

    return write


def npz(frames: np.ndarray, **arrays: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.savez_compressed(folder / "a.npz", frames=frames, **arrays)
        return folder / "a.npz"

    return write


def video(
    name: str, codec: str = "libx264", change: Callable[[bytes], bytes] = lambda whole: whole
) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        write_video(folder / name, FRAMES, codec)
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        return folder / name

    return write


def turned_video(folder: Path) -> Path:
    stored = np.ascontiguousarray(np.rot90(FRAMES, -1, axes=(1, 2)))
    with av.open(folder / "a.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=20, options={"crf": "8"})
        stream.height, stream.width = stored.shape[1:]
        stream.pix_fmt = "yuv420p"
        stream.set_display_rotation(90)
        for frame in stored:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode(None))
    return folder / "a.mp4"


def images(pixels: np.ndarray, suffix: str, **options: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "sweep").mkdir()
        for number, frame in enumerate(pixels):
            Image.fromarray(frame).save(folder / "sweep" / f"{number}.{suffix}", **options)
        return folder / "sweep"

    return write


# PS3.3 C.11.2.1.2.1, of a window of 161 around 100.
MAPPED = np.clip((FRAMES.astype(float) - 19.5) / 160 * 255, 0, 255)
MM = {"mm_per_px": 0.3, "scale_source": "PixelSpacing"}
SPACED = {"mm_per_px": 0.2, "aspect": 1.5}
VIDEO = {"frames": GREY_IN_COLOUR, "tolerance": LOSSY}
ORIENTATION, SCALE = ("orientation",), ("scale",)
LEFT = Region(0, 0, 20, HEIGHT)

KINDS = {
    # DICOM: transfer syntaxes
    "implicit VR": Kind(dicom(ImplicitVRLittleEndian)),
    "explicit VR": Kind(dicom()),
    "big-endian": Kind(dicom(ExplicitVRBigEndian)),
    "deflated": Kind(dicom(DeflatedExplicitVRLittleEndian)),
    "without preamble": Kind(headless),
    "run lengths": Kind(compressed(RLELossless)),
    "JPEG-LS": Kind(compressed(JPEGLSLossless)),
    "JPEG 2000": Kind(jpeg_2000),
    "JPEG": Kind(jpegs(), tolerance=LOSSY),
    # DICOM: where its frames are
    "no number of frames": Kind(dicom(NumberOfFrames=None)),
    "JPEG, no number of frames": Kind(jpegs(NumberOfFrames=None), tolerance=LOSSY),
    "JPEG, wrong offset table": Kind(jpegs([0, 7, 9]), tolerance=LOSSY),
    "JPEG, one fragment": Kind(jpegs(joined=True), tolerance=LOSSY),
    # DICOM: colours and brightness
    "MONOCHROME1": Kind(dicom_of(255 - FRAMES, "MONOCHROME1")),
    "16 bits, all used": Kind(dicom_of(FRAMES.astype(np.uint16) * 257, "MONOCHROME2", 16)),
    "12 of 16 bits": Kind(dicom_of(FRAMES.astype(np.uint16) * 16, "MONOCHROME2", 12), tolerance=1),
    "a window": Kind(
        dicom(WindowCenter=100, WindowWidth=161), frames=MAPPED.astype(np.uint8), tolerance=1
    ),
    "RGB": Kind(dicom_of(TINTED, "RGB"), frames=TINTED),
    "RGB of 16 bits": Kind(dicom_of(TINTED.astype(np.uint16) * 257, "RGB", 16), frames=TINTED),
    "RGB, planes apart": Kind(
        dicom_of(
            TINTED,
            "RGB",
            PlanarConfiguration=1,
            PixelData=np.moveaxis(TINTED, -1, 1).tobytes(),
        ),
        frames=TINTED,
    ),
    "shared chroma": Kind(shared_chroma, frames=GREY_IN_COLOUR),
    "palette of words": Kind(palette(16, "<u2"), frames=GREY_IN_COLOUR),
    "palette of bytes": Kind(palette(8, "u1"), frames=GREY_IN_COLOUR),
    "palette of bytes in words": Kind(palette(8, "<u2"), frames=GREY_IN_COLOUR),
    "big-endian palette": Kind(palette(16, ">u2", is_big_endian=True), frames=GREY_IN_COLOUR),
    "big-endian palette of bytes in words": Kind(
        palette(8, ">u2", is_big_endian=True), frames=GREY_IN_COLOUR
    ),
    "JPEG of RGB": Kind(coloured_jpegs("RGB", is_rgb=True), TINTED, tolerance=LOSSY),
    "JPEG of RGB, called YCbCr": Kind(
        coloured_jpegs("YBR_FULL_422", is_rgb=True),
        TINTED,
        tolerance=LOSSY,
        notes=("colours relabelled",),
    ),
    "JPEG of YCbCr": Kind(coloured_jpegs("YBR_FULL", is_rgb=False), TINTED, tolerance=LOSSY),
    "JPEG of YCbCr, called RGB": Kind(
        coloured_jpegs("RGB", is_rgb=False),
        TINTED,
        tolerance=LOSSY,
        notes=("colours relabelled",),
    ),
    # DICOM: scale, region, orientation
    "a region": Kind(
        dicom(SequenceOfUltrasoundRegions=[region(0, 20, 0.5)]),
        mm_per_px=0.5,
        scale_source="ultrasound region",
        region=LEFT,
    ),
    "a region, and another spacing": Kind(
        dicom(SequenceOfUltrasoundRegions=[region(0, 20, 0.5)], PixelSpacing=[0.3, 0.3]),
        mm_per_px=0.5,
        scale_source="ultrasound region",
        region=LEFT,
        notes=SCALE,
    ),
    "tissue beside more flow": Kind(
        dicom(SequenceOfUltrasoundRegions=[region(20, 56, 0.9, 2), region(0, 20, 0.5)]),
        mm_per_px=0.5,
        scale_source="ultrasound region",
        region=LEFT,
    ),
    "a region of another picture": Kind(
        dicom(SequenceOfUltrasoundRegions=[region(0, 90, 0.5)], PixelSpacing=[0.3, 0.3]),
        notes=SCALE,
    ),
    "PixelSpacing": Kind(dicom(PixelSpacing=[0.3, 0.3]), **MM),
    "tall pixels": Kind(
        dicom(PixelSpacing=[0.3, 0.2]), mm_per_px=0.2, aspect=1.5, scale_source="PixelSpacing"
    ),
    "spacing unknown": Kind(dicom(PixelSpacing=[1, 1])),
    "NominalScannedPixelSpacing": Kind(
        dicom(NominalScannedPixelSpacing=[0.3, 0.3]),
        mm_per_px=0.3,
        scale_source="NominalScannedPixelSpacing",
    ),
    "functional groups": Kind(
        dicom(SharedFunctionalGroupsSequence=functional_groups([0.3, 0.3])),
        mm_per_px=0.3,
        scale_source="functional groups",
    ),
    "PixelAspectRatio": Kind(dicom(PixelAspectRatio=[3, 2]), aspect=1.5),
    "down is forward": Kind(dicom(PatientOrientation=["L", "A"]), notes=ORIENTATION),
    # MetaImage
    "MHA": Kind(meta_image("ElementSpacing = 0.2 0.3 1"), **SPACED, scale_source="ElementSpacing"),
    "MHA in cm": Kind(
        meta_image("ElementSpacing = 0.02 0.03 1", "DistanceUnits = cm"),
        **SPACED,
        scale_source="ElementSpacing",
    ),
    "MHA in an unknown unit": Kind(meta_image("ElementSpacing = 2 3 1", "DistanceUnits = inch")),
    "packed MHA": Kind(meta_image("CompressedData = True", data=zlib.compress(FRAMES.tobytes()))),
    "MHD and its raw file": Kind(with_pixels_beside),
    "MHA of 12 bits": Kind(
        meta_image("ElementType = MET_USHORT", data=(FRAMES.astype("<u2") * 16).tobytes()),
        tolerance=1,
    ),
    "MHA in colour": Kind(
        meta_image("ElementNumberOfChannels = 3", data=TINTED.tobytes()), frames=TINTED
    ),
    "MHA upside down": Kind(
        meta_image("UltrasoundImageOrientation = MN", data=FRAMES[:, ::-1].tobytes())
    ),
    "MHA mirrored": Kind(
        meta_image("UltrasoundImageOrientation = UF", data=FRAMES[:, :, ::-1].tobytes())
    ),
    "MHA transposed": Kind(
        meta_image(
            f"DimSize = {HEIGHT} {WIDTH} {COUNT}",
            "UltrasoundImageOrientation = FMA",
            "ElementSpacing = 0.3 0.2 1",
            data=FRAMES.swapaxes(1, 2).tobytes(),
        ),
        **SPACED,
        scale_source="ElementSpacing",
    ),
    "MHA with a direction matrix": Kind(
        meta_image("TransformMatrix = -1 0 0 0 1 0 0 0 1"), notes=ORIENTATION
    ),
    # NRRD
    "NRRD": Kind(nrrd("spacings: 0.2 0.3 nan"), **SPACED, scale_source="spacings"),
    "NRRD in cm": Kind(
        nrrd("spacings: 0.02 0.03 nan", 'units: "cm" "cm" ""'), **SPACED, scale_source="spacings"
    ),
    "NRRD with a list": Kind(
        nrrd(
            "kinds: list domain domain",
            "space directions: none (0.2,0) (0,0.3)",
            sizes=f"{COUNT} {WIDTH} {HEIGHT}",
            data=np.moveaxis(FRAMES, 0, -1).tobytes(),
        ),
        **SPACED,
        scale_source="space directions",
    ),
    "packed NRRD": Kind(nrrd(encoding="gzip", data=zlib.compress(FRAMES.tobytes()))),
    "NRRD in colour, channels last": Kind(
        nrrd(
            "kinds: domain domain list RGB-color",
            sizes=f"{WIDTH} {HEIGHT} {COUNT} 3",
            data=np.moveaxis(TINTED, -1, 0).tobytes(),
        ),
        frames=TINTED,
    ),
    "NRRD with directions": Kind(
        nrrd("space directions: (-0.2,0,0) (0,-0.2,0) (0,0,1)"),
        mm_per_px=0.2,
        scale_source="space directions",
        notes=ORIENTATION,
    ),
    # NumPy
    "NPZ": Kind(npz(FRAMES, mm_per_px=0.3), mm_per_px=0.3, scale_source="mm_per_px"),
    "NPZ of fractions": Kind(npz(FRAMES / 255)),
    "NPZ with tall pixels": Kind(
        npz(FRAMES, mm_per_px=[0.3, 0.2]), **SPACED, scale_source="mm_per_px"
    ),
    "NPZ in colour": Kind(npz(TINTED), frames=TINTED),
    # video
    "MP4": Kind(video("a.mp4"), **VIDEO),
    "MOV": Kind(video("a.mov", "mjpeg"), **VIDEO),
    "MKV": Kind(video("a.mkv"), **VIDEO),
    "AVI": Kind(video("a.avi", "mjpeg"), **VIDEO),
    "a turned video": Kind(turned_video, **VIDEO),
    "an edit list": Kind(
        video("a.mp4", change=lambda whole: with_edit_list(whole, first=2, count=3)),
        frames=GREY_IN_COLOUR[2:5],
        tolerance=LOSSY,
    ),
    "empty chunks": Kind(
        video("a.avi", "mjpeg", lambda whole: with_empty_chunks(whole, {0: 2, 5: 3})), **VIDEO
    ),
    "uuid in front": Kind(
        video("a.mp4", change=lambda whole: with_box_in_front(whole, b"uuid")), **VIDEO
    ),
    "animated GIF": Kind(
        lambda folder: write_gif(folder / "a.gif", FRAMES, duration=50), frames=GREY_IN_COLOUR
    ),
    # folders of images
    "PNG": Kind(images(FRAMES, "png")),
    "PNG of 16 bits": Kind(images(FRAMES.astype(np.uint16) * 257, "png")),
    "PNG in colour": Kind(images(TINTED, "png"), frames=TINTED),
    "JPEG images": Kind(images(FRAMES, "jpg", quality=95), tolerance=LOSSY),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    clip = read_clip(kind.write(tmp_path))
    assert clip.frames.shape == kind.frames.shape
    assert clip.source_frames == len(kind.frames)
    difference = np.abs(clip.frames.astype(int) - kind.frames)
    assert difference.mean() <= kind.tolerance
    if kind.tolerance != LOSSY:
        assert difference.max() <= kind.tolerance
    assert abs(clip.frames.mean() - kind.frames.mean()) <= 1  # as bright as it was
    assert clip.mm_per_px == pytest.approx(kind.mm_per_px)
    assert clip.pixel_aspect == pytest.approx(kind.aspect)
    assert clip.scale_source == kind.scale_source
    assert clip.region == kind.region
    assert tuple(note.split(": ")[0] for note in clip.notes) == kind.notes


@pytest.mark.skipif(
    "BSOU_CLIPS" not in os.environ, reason="BSOU_CLIPS names no folder of real clips"
)
@pytest.mark.parametrize(
    ("name", "shape", "mm_per_px", "mean", "notes"),
    [
        ("freehand-spine-phantom.igs.mha", (21, 616, 820), None, 35.9961, ()),
        ("bone-linear-probe.igs.mha", (21, 616, 820), None, 19.6488, ()),
        ("nwire-phantom-freehand.igs.nrrd", (97, 616, 820), None, 0.4508, ()),
        ("colour-doppler.dcm", (8, 240, 320, 3), 2.29375, 51.3257, ORIENTATION),
    ],
)
def test_real_clips(
    name: str, shape: tuple[int, ...], mm_per_px: float | None, mean: float, notes: tuple[str, ...]
) -> None:
    """Frames, scale and brightness as SimpleITK and pydicom read them."""
    clip = read_clip(Path(os.environ["BSOU_CLIPS"]) / name)
    assert clip.frames.shape == shape
    assert clip.mm_per_px == pytest.approx(mm_per_px)
    assert clip.frames.mean() == pytest.approx(mean, abs=1e-4)
    assert tuple(note.split(": ")[0] for note in clip.notes) == notes


@pytest.mark.skipif(
    "BSOU_CLIPS" not in os.environ, reason="BSOU_CLIPS names no folder of real clips"
)
def test_a_real_picture_that_is_no_clip() -> None:
    with pytest.raises(UnreadableClip, match="not a stack of frames"):
        read_clip(Path(os.environ["BSOU_CLIPS"]) / "acouslic-fov-mask.mha")
