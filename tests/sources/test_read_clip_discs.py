"""Discs at a known distance end at the right one, whatever states the size of a pixel.

Pixels are half as tall again as they are wide. A reader that forgets one of the two, or takes one
for the other, misses by many pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pydicom
import pytest
from fan_clips import FanClip, fan_frames, row
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from scipy.ndimage import center_of_mass, gaussian_filter, label

from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.prepare.prepare_clip import PrepareConfig, prepare
from bsou_dist.sources.read_clip import read_clip

WIDTH_MM, HEIGHT_MM = 0.8, 1.2
ACROSS_MM, DOWN_MM = 45.0, 60.0
CONFIG = PrepareConfig(size_px=128, field_mm=192.0, max_frames=8)
DISC_MM = 5.0


def picture(width_mm: float = WIDTH_MM, height_mm: float = HEIGHT_MM) -> np.ndarray:
    """Moving tissue, (8, H, W), with a disc, one right of it and one below it."""
    height, width = round(168 / height_mm), round(192 / width_mm)
    tissue = fan_frames(count=8, height=height, width=width)
    y, x = np.mgrid[:height, :width]
    across_mm, down_mm = (x + 0.5) * width_mm - 96, (y + 0.5) * height_mm
    left_mm, top_mm = -ACROSS_MM / 2, 60.0
    discs = np.zeros((height, width))
    for place in ((left_mm, top_mm), (-left_mm, top_mm), (left_mm, top_mm + DOWN_MM)):
        away_mm = np.hypot(across_mm - place[0], down_mm - place[1])
        discs = np.maximum(discs, np.exp(-((away_mm / DISC_MM) ** 2)))
    shown = 0.5 * tissue * (1 - discs) + (150 + 0.3 * tissue) * discs
    return np.clip(shown, 0, 255).astype(np.uint8)


def distances_px(frames: np.ndarray) -> tuple[float, float]:
    """How far the second disc is from the first across, and the third down."""
    mean = gaussian_filter(frames.mean(axis=0), 1.0)
    marks, count = label(mean > 0.6 * mean.max())
    assert count == 3
    places = sorted(center_of_mass(mean, marks, range(1, 4)), key=lambda place: place[1])
    (*_, right), left = places, sorted(places[:2])
    return right[1] - left[0][1], left[1][0] - left[0][0]


def dicom(folder: Path, frames: np.ndarray, **elements: object) -> Path:
    write_phantom([FanClip(row(0), frames)], folder)
    path = folder / "clips" / "000000.dcm"
    dataset = pydicom.dcmread(path)
    del dataset.SequenceOfUltrasoundRegions
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path


def region(frames: np.ndarray, across_mm: float, down_mm: float) -> Sequence:
    item = Dataset()
    item.RegionSpatialFormat = item.RegionDataType = 1
    item.RegionLocationMinX0 = item.RegionLocationMinY0 = 0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = frames.shape[2] - 1, frames.shape[1] - 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = across_mm / 10, down_mm / 10
    return Sequence([item])


def functional_groups(spacing: list[float]) -> Sequence:
    measures, groups = Dataset(), Dataset()
    measures.PixelSpacing = spacing
    groups.PixelMeasuresSequence = Sequence([measures])
    return Sequence([groups])


def meta_image(folder: Path, frames: np.ndarray, *lines: str) -> Path:
    count, height, width = frames.shape
    header = [
        "ObjectType = Image",
        "NDims = 3",
        f"DimSize = {width} {height} {count}",
        "ElementType = MET_UCHAR",
        *lines,
        "ElementDataFile = LOCAL",
    ]
    path = folder / "a.mha"
    path.write_bytes("\n".join(header).encode() + b"\n" + frames.tobytes())
    return path


def nrrd(folder: Path, frames: np.ndarray, *lines: str) -> Path:
    count, height, width = frames.shape
    header = [
        "NRRD0004",
        "type: uint8",
        "dimension: 3",
        f"sizes: {width} {height} {count}",
        "encoding: raw",
        *lines,
    ]
    path = folder / "a.nrrd"
    path.write_bytes("\n".join(header).encode() + b"\n\n" + frames.tobytes())
    return path


def npz(folder: Path, frames: np.ndarray, mm_per_px: object) -> Path:
    np.savez(folder / "a.npz", frames=frames, mm_per_px=mm_per_px)
    return folder / "a.npz"


def video(folder: Path, frames: np.ndarray, name: str, codec: str, degrees: int = 0) -> Path:
    """A video of tall pixels, to be turned by so much when it is shown."""
    frames = np.rot90(frames, -degrees // 90, axes=(1, 2))
    stored = Fraction(HEIGHT_MM / WIDTH_MM).limit_denominator(9)
    with av.open(folder / name, "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "yuvj420p"
        stream.codec_context.sample_aspect_ratio = stored if degrees else 1 / stored
        if degrees:
            stream.set_display_rotation(degrees)
        for frame in frames:
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gray")
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return folder / name


def gif(folder: Path, frames: np.ndarray) -> Path:
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(folder / "a.gif", save_all=True, append_images=others, duration=50)
    content = bytearray((folder / "a.gif").read_bytes())
    content[12] = round(64 * WIDTH_MM / HEIGHT_MM) - 15  # pixel aspect ratio, width over height
    (folder / "a.gif").write_bytes(content)
    return folder / "a.gif"


def images(folder: Path, frames: np.ndarray, suffix: str) -> Path:
    (folder / "clip").mkdir()
    for number, frame in enumerate(frames):
        dots = (300 * HEIGHT_MM / WIDTH_MM, 300)
        Image.fromarray(frame).save(folder / "clip" / f"{number}.{suffix}", dpi=dots)
    return folder / "clip"


class Stated(NamedTuple):
    """How a file is written, which states the size of its pixels, or their shape alone."""

    write: Callable[[Path, np.ndarray], Path]
    source: str | None
    needs_table: bool = False


PAIR = [HEIGHT_MM, WIDTH_MM]
IN_FILES = {
    "DICOM, region": Stated(
        lambda folder, frames: dicom(
            folder,
            frames,
            SequenceOfUltrasoundRegions=region(frames, WIDTH_MM, HEIGHT_MM),
        ),
        "ultrasound region",
    ),
    "DICOM, functional groups": Stated(
        lambda folder, frames: dicom(
            folder, frames, SharedFunctionalGroupsSequence=functional_groups(PAIR)
        ),
        "functional groups",
    ),
    "DICOM, PixelSpacing": Stated(
        lambda folder, frames: dicom(folder, frames, PixelSpacing=PAIR), "PixelSpacing"
    ),
    "DICOM, nominal": Stated(
        lambda folder, frames: dicom(folder, frames, NominalScannedPixelSpacing=PAIR),
        "NominalScannedPixelSpacing",
    ),
    "DICOM, PixelAspectRatio": Stated(
        lambda folder, frames: dicom(folder, frames, PixelAspectRatio=[3, 2]),
        "cohort table",
        needs_table=True,
    ),
    "MHA": Stated(
        lambda folder, frames: meta_image(folder, frames, "ElementSpacing = 0.8 1.2 1"),
        "ElementSpacing",
    ),
    "MHA in cm": Stated(
        lambda folder, frames: meta_image(
            folder, frames, "ElementSpacing = 0.08 0.12 1", "DistanceUnits = cm"
        ),
        "ElementSpacing",
    ),
    "MHA, transposed": Stated(
        lambda folder, frames: meta_image(
            folder,
            np.ascontiguousarray(frames.swapaxes(1, 2)),
            "ElementSpacing = 1.2 0.8 1",
            "UltrasoundImageOrientation = FM",
        ),
        "ElementSpacing",
    ),
    "NRRD, spacings": Stated(
        lambda folder, frames: nrrd(folder, frames, "spacings: 0.8 1.2 nan"), "spacings"
    ),
    "NRRD, directions in cm": Stated(
        lambda folder, frames: nrrd(
            folder,
            frames,
            'space units: "cm" "cm"',
            "space directions: (0.08,0) (0,0.12) none",
        ),
        "space directions",
    ),
    "NPZ": Stated(lambda folder, frames: npz(folder, frames, PAIR), "mm_per_px"),
    "MP4": Stated(
        lambda folder, frames: video(folder, frames, "a.mp4", "libx264"), "cohort table", True
    ),
    "MP4, turned": Stated(
        lambda folder, frames: video(folder, frames, "a.mp4", "libx264", 90), "cohort table", True
    ),
    "MOV": Stated(
        lambda folder, frames: video(folder, frames, "a.mov", "mjpeg"), "cohort table", True
    ),
    "MKV": Stated(
        lambda folder, frames: video(folder, frames, "a.mkv", "libx264"), "cohort table", True
    ),
    "AVI": Stated(
        lambda folder, frames: video(folder, frames, "a.avi", "mjpeg"), "cohort table", True
    ),
    "GIF": Stated(gif, "cohort table", True),
    "images, PNG": Stated(
        lambda folder, frames: images(folder, frames, "png"), "cohort table", True
    ),
    "images, JPEG": Stated(
        lambda folder, frames: images(folder, frames, "jpg"), "cohort table", True
    ),
}


@pytest.mark.parametrize("name", IN_FILES)
def test_discs_end_at_the_right_distance(tmp_path: Path, name: str) -> None:
    stated = IN_FILES[name]
    path = stated.write(tmp_path, picture())
    raw = read_clip(path, CONFIG.max_frames, CONFIG.mm_per_px)
    clip = prepare(raw, CONFIG, WIDTH_MM if stated.needs_table else None)
    across_px, down_px = distances_px(clip.frames)
    assert across_px == pytest.approx(ACROSS_MM / CONFIG.mm_per_px, abs=0.5)
    assert down_px == pytest.approx(DOWN_MM / CONFIG.mm_per_px, abs=0.5)
    assert clip.scale_source == stated.source
    assert clip.notes == ()


def test_discs_in_fine_pictures_that_are_halved_before(tmp_path: Path) -> None:
    frames = picture(WIDTH_MM / 2, HEIGHT_MM / 2)
    raw = read_clip(npz(tmp_path, frames, [HEIGHT_MM / 2, WIDTH_MM / 2]))
    across_px, down_px = distances_px(prepare(raw, CONFIG).frames)
    assert across_px == pytest.approx(ACROSS_MM / CONFIG.mm_per_px, abs=0.5)
    assert down_px == pytest.approx(DOWN_MM / CONFIG.mm_per_px, abs=0.5)


def test_a_table_that_contradicts_the_file_is_noted(tmp_path: Path) -> None:
    raw = read_clip(npz(tmp_path, picture(), PAIR))
    assert prepare(raw, CONFIG, 1.01 * WIDTH_MM).notes == ()
    clip = prepare(raw, CONFIG, 1.5 * WIDTH_MM)
    assert clip.scale_source == "mm_per_px"
    assert clip.notes == ("scale: cohort table says 1.5 times what mm_per_px says, which counts",)
