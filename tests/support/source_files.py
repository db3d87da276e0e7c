"""Files as clinics hold them, made out of plain ones."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit


def with_edit_list(mp4: bytes, *, first: int, count: int) -> bytes:
    """A file of 20 frames a second that shows but `count` frames from `first` on."""
    changed = bytearray(mp4)
    ticks = struct.unpack(">I", mp4[mp4.index(b"mdhd") + 16 :][:4])[0]
    movie_ticks = struct.unpack(">I", mp4[mp4.index(b"mvhd") + 16 :][:4])[0]
    edit = mp4.index(b"elst") + 12
    begin = struct.unpack(">i", mp4[edit + 4 : edit + 8])[0]
    shown = (count * movie_ticks // 20, begin + first * ticks // 20)
    changed[edit : edit + 8] = struct.pack(">Ii", *shown)
    return bytes(changed)


def with_empty_chunks(avi: bytes, after: dict[int, int]) -> bytes:
    """An AVI whose recorder dropped frames: so many empty chunks after the frames named."""
    movi = avi.index(b"movi")
    end = movi + struct.unpack("<I", avi[movi - 4 : movi])[0]
    chunks = []
    at = movi + 4
    while at < end:
        (length,) = struct.unpack("<I", avi[at + 4 : at + 8])
        chunks += [avi[at + 8 : at + 8 + length]]
        chunks += [b""] * after.get(len([chunk for chunk in chunks if chunk]) - 1, 0)
        at += 8 + length + length % 2
    body, index = b"movi", b""
    for chunk in chunks:
        index += b"00dc" + struct.pack("<III", 0x10 if chunk else 0, len(body), len(chunk))
        body += b"00dc" + struct.pack("<I", len(chunk)) + chunk + bytes(len(chunk) % 2)
    head = bytearray(avi[: movi - 4])
    for mark, place in ((b"avih", 24), (b"strh", 40)):
        count_at = head.index(mark) + place
        head[count_at : count_at + 4] = struct.pack("<I", len(chunks))
    data = bytes(head) + struct.pack("<I", len(body)) + body
    data += b"idx1" + struct.pack("<I", len(index)) + index
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def with_box_in_front(mov: bytes, name: bytes) -> bytes:
    """A file whose first box is this one, of no meaning."""
    box = struct.pack(">I4s", 24, name) + 16 * b"\x07"
    changed = bytearray(mov)
    table = mov.index(b"stco")
    (count,) = struct.unpack(">I", mov[table + 8 : table + 12])
    for entry in range(table + 12, table + 12 + 4 * count, 4):
        (offset,) = struct.unpack(">I", mov[entry : entry + 4])
        changed[entry : entry + 4] = struct.pack(">I", offset + len(box))
    return box + bytes(changed)


def write_gif(path: Path, frames: np.ndarray, **options: object) -> Path:
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:], **options)
    return path


def without_segments(jpeg: bytes) -> bytes:
    """A JPEG without JFIF and Adobe marks."""
    kept = jpeg[:2]
    at = 2
    while jpeg[at + 1] != 0xDA:
        length = 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if not 0xE0 <= jpeg[at + 1] <= 0xEF:
            kept += jpeg[at : at + length]
        at += length
    return kept + jpeg[at:]


def with_numbers(jpeg: bytes, old: bytes, new: bytes) -> bytes:
    """A JPEG with other identifiers of its components, in its frame's and its scan's header."""
    changed = bytearray(jpeg)
    frame, scan = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xda")
    for component in range(3):
        for place in (frame + 10 + 3 * component, scan + 5 + 2 * component):
            assert changed[place] == old[component]
            changed[place] = new[component]
    return bytes(changed)


def as_jpegs(frames: np.ndarray) -> list[bytes]:
    """JPEGs of an even length, so that no fragment is padded."""
    pictures = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=95)
        pictures.append(buffer.getvalue())
    return pictures


def item(data: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data


def with_fragments(
    dicom: Path, fragments: list[bytes], offsets: list[int], **changes: object
) -> Path:
    """A file with these fragments and this offset table, right or not."""
    dataset = pydicom.dcmread(dicom)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    padded = [fragment + b"\x00" * (len(fragment) % 2) for fragment in fragments]
    table = struct.pack(f"<{len(offsets)}I", *offsets)
    dataset.PixelData = item(table) + b"".join(item(fragment) for fragment in padded)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    for name, value in changes.items():
        setattr(dataset, name, value)
    dataset.save_as(dicom)
    return dicom
