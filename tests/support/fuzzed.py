"""Files of every kind that is read, damaged in every way that comes to mind; the same for the same
seed.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from fan_clips import FanClip, fan_frames, row, write_video
from numpy.lib import format as npy
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import set_pixel_data
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from bsou_dist.phantom.files.cohort_files import write_phantom

FRAMES = fan_frames()
_EXTREME = (
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\xff\xff\x00\x00",
    b"\x00\x00\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x01\x00\x00\x00",
)


def whole_files(folder: Path) -> dict[str, bytes]:
    """An undamaged file of each kind, by kind."""
    write_phantom([FanClip(row(0), FRAMES)], folder)
    phantom = folder / "clips" / "000000.dcm"
    files = {"dicom": phantom.read_bytes()}
    for name, syntax in (
        ("big-endian", ExplicitVRBigEndian),
        ("deflated", DeflatedExplicitVRLittleEndian),
    ):
        dataset = pydicom.dcmread(phantom)
        dataset.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(
            folder / name, dataset, implicit_vr=False, little_endian=syntax.is_little_endian
        )
        files[name] = (folder / name).read_bytes()
    for name, syntax in (("rle", RLELossless), ("jpeg-ls", JPEGLSLossless)):
        dataset = pydicom.dcmread(phantom)
        dataset.compress(syntax)
        dataset.save_as(folder / name)
        files[name] = (folder / name).read_bytes()
    for name, syntax, form in (
        ("jpeg", JPEGBaseline8Bit, "JPEG"),
        ("jpeg2000", JPEG2000Lossless, "JPEG2000"),
    ):
        dataset = pydicom.dcmread(phantom)
        colours = np.repeat(FRAMES[..., None], 3, axis=-1)
        set_pixel_data(dataset, colours, "RGB", 8)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PhotometricInterpretation = "YBR_FULL_422" if form == "JPEG" else "YBR_RCT"
        dataset.PixelData = encapsulate([_picture(frame, form) for frame in colours])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(folder / name)
        files[name] = (folder / name).read_bytes()
    dataset = pydicom.dcmread(phantom)
    set_pixel_data(dataset, np.repeat(FRAMES[..., None], 3, axis=-1), "RGB", 8)
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    # Two pixels of luma, then their common chroma, which is neutral.
    pairs = np.full((*FRAMES.shape[:2], FRAMES.shape[2] // 2, 4), 128, np.uint8)
    pairs[..., 0], pairs[..., 1] = FRAMES[:, :, ::2], FRAMES[:, :, 1::2]
    dataset.PixelData = pairs.tobytes()
    dataset.save_as(folder / "shared-chroma")
    files["shared-chroma"] = (folder / "shared-chroma").read_bytes()
    dataset = pydicom.dcmread(phantom)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{name}Descriptor", "US", [256, 0, 16])
        dataset.add_new(f"{name}Data", "OW", (np.arange(256) * 257).astype(">u2").tobytes())
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(folder / "palette", dataset, implicit_vr=False, little_endian=False)
    files["palette"] = (folder / "palette").read_bytes()
    for name, codec in (
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.mov", "mjpeg"),
        ("a.avi", "mjpeg"),
    ):
        write_video(folder / name, FRAMES, codec)
        files[name] = (folder / name).read_bytes()
    for name, packed in (
        ("a.mha", False),
        ("packed.mha", True),
        ("a.nrrd", False),
        ("packed.nrrd", True),
    ):
        sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(folder / name), packed)
        files[name] = (folder / name).read_bytes()
    np.savez_compressed(folder / "a.npz", frames=FRAMES, mm_per_px=1.2)
    files["a.npz"] = (folder / "a.npz").read_bytes()
    first, *others = [Image.fromarray(frame) for frame in FRAMES]
    first.save(folder / "a.gif", save_all=True, append_images=others, duration=50)
    files["a.gif"] = (folder / "a.gif").read_bytes()
    for kind, form in (("images", "PNG"), ("images in JPEG", "JPEG"), ("images in TIFF", "TIFF")):
        files[kind] = _picture(FRAMES[0], form)
    return files


def write_clip(path: Path, kind: str, data: bytes) -> None:
    """Write a file of a kind of `whole_files`; images as a folder, of which `data` is the first."""
    if not kind.startswith("images"):
        path.write_bytes(data)
        return
    path.mkdir()
    (path / "00.png").write_bytes(data)
    for number, frame in enumerate(FRAMES[1:], start=1):
        Image.fromarray(frame).save(path / f"{number:02d}.png")


def _picture(frame: np.ndarray, form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, form, **({"no_jp2": True} if form == "JPEG2000" else {}))
    return buffer.getvalue()


def damaged(whole: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """The file with one to three damages, most of them where headers are."""
    data = bytearray(whole)
    for _ in range(random.integers(1, 4)):
        reach = len(data) if random.random() < 0.3 else min(len(data), 3000)
        at, length = int(random.integers(0, max(1, reach))), int(2 ** random.uniform(0, 12))
        match random.integers(0, 8):
            case 0:
                del data[at + 1 :]
            case 1:
                for place in random.integers(0, reach, random.integers(1, 30)):
                    data[place % max(1, len(data))] ^= 1 << int(random.integers(0, 8))
            case 2:
                data[at : at + 4] = _EXTREME[random.integers(0, len(_EXTREME))]
            case 3:
                data[at : at + 2] = _EXTREME[random.integers(0, len(_EXTREME))][:2]
            case 4:
                data[at:at] = other[at : at + length]
            case 5:
                data[at : at + length] = b""
            case 6:
                data[at : at + length] = random.bytes(length)
            case _:
                data[at:at] = data[at : at + length]
        if not data:
            return b""
    return bytes(data)


def bombs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Small files that claim, or unpack to, more than any machine holds."""
    phantom = folder / "clips" / "000000.dcm"
    for name, changes in (
        ("a picture of 65535 by 65535", {"Rows": 65535, "Columns": 65535}),
        ("a billion frames", {"NumberOfFrames": 10**9}),
        ("all of it", {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 2**31 - 1}),
        ("no rows", {"Rows": 0}),
        ("minus one frame", {"NumberOfFrames": -1}),
    ):
        for source in ("dicom", "rle", "jpeg", "jpeg2000", "jpeg-ls", "deflated"):
            dataset = pydicom.dcmread(phantom if source == "dicom" else folder / source)
            for key, value in changes.items():
                setattr(dataset, key, value)
            dataset.save_as(folder / "bomb")
            yield f"{source}: {name}", (folder / "bomb").read_bytes()
    jpeg = (folder / "jpeg").read_bytes()
    yield "jpeg: a header of 65500 by 65500", jpeg.replace(b"\x00\x60\x00\x70", b"\xff\xdc\xff\xdc")
    dataset = pydicom.dcmread(folder / "deflated")
    dataset.PixelData = bytes(2**29)
    dataset.save_as(folder / "bomb")
    yield "deflated: half a GB of zeros", (folder / "bomb").read_bytes()
    yield "MP4: samples without end", _with_endless_samples((folder / "a.mp4").read_bytes())
    for size in ("65535 65535 65535", "2000000000 1 1", "16000 16000 16000", "-5 5 5", "0 0 0"):
        yield (
            f"MHA: {size}",
            (
                f"ObjectType = Image\nNDims = 3\nDimSize = {size}\nElementType = MET_FLOAT\n"
                "ElementDataFile = LOCAL\n"
            ).encode()
            + bytes(1000),
        )
        yield (
            f"packed MHA: {size}",
            (
                f"ObjectType = Image\nNDims = 3\nDimSize = {size}\nCompressedData = True\n"
                "CompressedDataSize = 99999999999\nElementType = MET_FLOAT\n"
                "ElementDataFile = LOCAL\n"
            ).encode()
            + bytes(1000),
        )
        yield (
            f"NRRD: {size}",
            (
                f"NRRD0004\ntype: double\ndimension: 3\nsizes: {size}\nencoding: gzip\n"
                "endian: little\n\n"
            ).encode()
            + bytes(1000),
        )
    yield (
        "MHA: a billion dimensions",
        b"ObjectType = Image\nNDims = 999999999\nDimSize = 1\nElementType = MET_UCHAR\n",
    )
    for shape in (
        (10**9, 1000, 1000),
        (2, 10**9, 10**9),
        (10**12, 1, 1),
        (3, 0, 5),
        (2**62, 2**62, 4),
    ):
        yield f"NPZ: {shape}", _npz(shape, 1000)
    yield "NPZ: half a GB of zeros", _npz((2, 2**14, 2**14), 2**29)
    yield "NPZ: half a GB of zeros in small frames", _npz((2**19, 32, 32), 2**29)


def _with_endless_samples(mp4: bytes) -> bytes:
    """All samples of one size, and four billion of them, which takes no table."""
    at = mp4.index(b"stsz")
    blown_up = bytearray(mp4)
    blown_up[at + 8 : at + 16] = struct.pack(">II", 1, 2**32 - 1)
    at = mp4.index(b"stts")
    blown_up[at + 12 : at + 16] = struct.pack(">I", 2**32 - 1)
    at = mp4.index(b"stsc")
    blown_up[at + 16 : at + 20] = struct.pack(">I", 2**32 - 1)
    return bytes(blown_up)


def _npz(shape: tuple[int, ...], zeros: int) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("frames.npy", "w") as member,
    ):
        npy.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for _ in range(0, zeros, 2**20):
            member.write(bytes(min(zeros, 2**20)))
    return buffer.getvalue()
