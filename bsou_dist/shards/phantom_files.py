"""Clips with exact labels written as the files a clinic would hand over, so that packing starts where it does there.

Headers carry made-up names, numbers and birth dates, and pictures may carry print, so that what must not reach a
shard is there to be found.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import av
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

FileFormat = Literal["dicom", "mp4", "npz"]

_SUFFIXES: dict[FileFormat, str] = {"dicom": ".dcm", "mp4": ".mp4", "npz": ".npz"}
_NOMINAL_CRF = 10
_PRINT_STRIP_PX = 14  # above the picture


class Clip(Protocol):
    """A clip with its cohort row: `row` (cohort columns but `path`), `frames` uint8 (F, H, W)."""

    @property
    def row(self) -> dict[str, Any]: ...
    @property
    def frames(self) -> NDArray[np.uint8]: ...
    @property
    def mm_per_px(self) -> float: ...
    @property
    def frame_rate_hz(self) -> float: ...


def write_phantom(
    clips: Iterable[Clip], out: Path, *, file_format: FileFormat = "dicom", print_text: bool = False
) -> Path:
    """Write one file per clip and `cohort.csv` beside them; returns the path of the table.

    Args:
        clips: consumed one at a time.
        out: folder, made if need be; files go to `clips/` in it.
        file_format: DICOM states its spacing itself; for 'mp4' it is in the table; 'npz' keeps the pixels alone.
        print_text: burn the patient's made-up name and the sweep into a strip above the picture.
    """
    folder = out / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, clip in enumerate(clips):
        path = folder / f"{number:06d}{_SUFFIXES[file_format]}"
        frames = _printed(clip.frames, _name(clip), clip.row.get("sweep")) if print_text else clip.frames
        row = {**clip.row, "path": path.relative_to(out).as_posix()}
        if file_format == "dicom":
            _write_dicom(path, frames, clip)
        elif file_format == "mp4":
            _write_mp4(path, frames, clip.frame_rate_hz)
            row["mm_per_px"] = clip.mm_per_px
        else:
            np.savez_compressed(path, frames=frames, mm_per_px=clip.mm_per_px)
        rows.append(row)
    table = out / "cohort.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


def _name(clip: Clip) -> str:
    """A name that no one bears, the same for all clips of a patient."""
    return f"Phantom^Patient{zlib.crc32(str(clip.row['patient_id']).encode()):08X}"


def _printed(frames: NDArray[np.uint8], name: str, sweep: Any) -> NDArray[np.uint8]:
    count, _, width = frames.shape
    strip = Image.new("L", (width, _PRINT_STRIP_PX))
    text = f"{sweep if isinstance(sweep, str) else ''} {name}".strip()
    ImageDraw.Draw(strip).text((1, 1), text, fill=230, font=ImageFont.load_default(size=10))
    return np.concatenate([np.broadcast_to(np.asarray(strip), (count, _PRINT_STRIP_PX, width)), frames], axis=1)


def _write_dicom(path: Path, frames: NDArray[np.uint8], clip: Clip) -> None:
    count, height, width = frames.shape
    identity = "|".join(str(clip.row[name]) for name in ("patient_id", "study_id"))
    instance = generate_uid(entropy_srcs=[identity, path.name])
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = instance
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID = instance
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[identity])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[identity, "series"])
    dataset.Modality = "US"
    dataset.PatientName = _name(clip)
    dataset.PatientID = str(clip.row["patient_id"])
    dataset.PatientBirthDate = f"19{60 + zlib.crc32(identity.encode()) % 40}0101"
    dataset.PatientSex = "F"
    dataset.StudyDate = "19000101"
    dataset.StudyTime = ""
    dataset.StudyID = str(clip.row["study_id"])[:16]
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    dataset.PatientOrientation = ""
    maker, _, model = str(clip.row.get("device") or "").partition(" ")
    dataset.Manufacturer = maker
    dataset.ManufacturerModelName = model
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.FrameTime = round(1000 / clip.frame_rate_hz, 6)
    dataset.FrameIncrementPointer = 0x00181063
    dataset.NumberOfFrames = count
    dataset.Rows, dataset.Columns = height, width
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "00"
    dataset.SequenceOfUltrasoundRegions = Sequence([_whole_picture(clip.mm_per_px, width, height)])
    pixels = frames.tobytes()
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)


def _whole_picture(mm_per_px: float, width: int, height: int) -> Dataset:
    """A region that takes in any print too, so that cropping alone does not remove it; spacing in cm per pixel."""
    region = Dataset()
    region.RegionSpatialFormat = 1  # 2D
    region.RegionDataType = 1  # tissue
    region.RegionFlags = 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = width - 1, height - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
    region.PhysicalDeltaX = region.PhysicalDeltaY = mm_per_px / 10
    return region


def _write_mp4(path: Path, frames: NDArray[np.uint8], frame_rate_hz: float) -> None:
    """H.264 of even height and width, padded with black at the right and below."""
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2)))
    with av.open(path, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(frame_rate_hz).limit_denominator(1000),
                                      options={"crf": str(_NOMINAL_CRF), "threads": "1", "flags": "+bitexact"})
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode(None))
