"""DICOM clips as scanners write them, with made-up identities in their headers."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

Encoding = Literal["MONOCHROME2", "RGB", "YBR_FULL_422"]
"""Photometric interpretation; the first two are stored as they are, the last one as JPEG."""

_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Acquisition:
    """Patient, study and device: content of the header beside the picture."""

    patient_id: str
    study_id: str
    maker: str
    model: str
    study_date: str = "19000101"
    study_time: str = ""

    @property
    def name(self) -> str:
        """A name that no one bears, the same for all clips of a patient."""
        return f"Phantom^Patient{zlib.crc32(self.patient_id.encode()):08X}"

    @property
    def identity(self) -> str:
        """Key that tells the study from all others."""
        return f"{self.patient_id}|{self.study_id}"

    def instance_uid(self, name: str) -> UID:
        """The UID of the instance of that name: the same whenever it is asked for."""
        return generate_uid(entropy_srcs=[self.identity, name])

    def study_uid(self) -> UID:
        """The UID of the study."""
        return generate_uid(entropy_srcs=[self.identity])


@dataclass(frozen=True)
class Box:
    """A 2D ultrasound region (pixels, upper ends exclusive) and its spacing."""

    x0: int
    y0: int
    x1: int
    y1: int
    mm_per_px: float


def write_dicom(
    path: Path,
    frames: NDArray[np.uint8],
    acquisition: Acquisition,
    *,
    instance: UID,
    encoding: Encoding,
    frame_rate_hz: float,
    region: Box | None,
) -> None:
    """Write one instance. A single frame is a still image, and gives no number of frames.

    Args:
        frames: (F, H, W) for MONOCHROME2, else (F, H, W, 3).
        region: without it the file states no spacing.
    """
    dataset = _identified(acquisition, instance, still=len(frames) == 1)
    if len(frames) > 1:
        dataset.FrameTime = round(1000 / frame_rate_hz, 6)
        dataset.FrameIncrementPointer = 0x00181063  # FrameTime
        dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    dataset.SamplesPerPixel = 1 if frames.ndim == 3 else 3
    if frames.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = encoding
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    if region is not None:
        dataset.SequenceOfUltrasoundRegions = Sequence([_region(region)])
    if encoding == "YBR_FULL_422":
        dataset.LossyImageCompression = "01"
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([_jpeg(frame) for frame in frames])
    else:
        dataset.LossyImageCompression = "00"
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        pixels = frames.tobytes()
        dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)


def _identified(acquisition: Acquisition, instance: UID, still: bool) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID = UltrasoundImageStorage if still else UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID = instance
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = instance
    dataset.StudyInstanceUID = acquisition.study_uid()
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[acquisition.identity, "series"])
    dataset.Modality = "US"
    dataset.PatientName = acquisition.name
    dataset.PatientID = acquisition.patient_id
    birth_year = 1960 + zlib.crc32(acquisition.identity.encode()) % 40
    dataset.PatientBirthDate = f"{birth_year}0101"
    dataset.PatientSex = "F"
    dataset.StudyDate = acquisition.study_date
    dataset.StudyTime = acquisition.study_time
    dataset.StudyID = acquisition.study_id[:16]
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    dataset.PatientOrientation = ""
    dataset.Manufacturer = acquisition.maker
    dataset.ManufacturerModelName = acquisition.model
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    return dataset


def _region(box: Box) -> Dataset:
    region = Dataset()
    region.RegionSpatialFormat = 1  # 2D
    region.RegionDataType = 1  # tissue
    region.RegionFlags = 0
    region.RegionLocationMinX0 = box.x0
    region.RegionLocationMinY0 = box.y0
    region.RegionLocationMaxX1 = box.x1 - 1
    region.RegionLocationMaxY1 = box.y1 - 1
    region.PhysicalUnitsXDirection = 3  # cm
    region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = box.mm_per_px / 10
    region.PhysicalDeltaY = box.mm_per_px / 10
    return region


def _jpeg(frame: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling="4:2:2")
    return buffer.getvalue()
