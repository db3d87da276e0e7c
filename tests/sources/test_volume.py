"""MetaImage and NRRD, with SimpleITK as the reference, which reads them in every other program."""

from __future__ import annotations

import bz2
import gzip
import os
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fan_clips import fan_frames

from bsou_dist.sources.grey_levels import to_frames
from bsou_dist.sources.raw_clip import RawClip, UnreadableClip, even_indices
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()  # (12, 96, 112)
COLOURS = np.stack([FRAMES, FRAMES // 2, 255 - FRAMES], axis=-1)
PACKED = zlib.compress(FRAMES.tobytes())


def meta_image(data: bytes, **fields: str) -> bytes:
    """An MHA of `FRAMES`; fields replace or add lines, an empty one leaves its line out."""
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "DimSize": "112 96 12",
        "ElementType": "MET_UCHAR",
        **fields,
        "ElementDataFile": fields.get("ElementDataFile", "LOCAL"),
    }
    lines = [f"{key} = {value}\n" for key, value in header.items() if value]
    return "".join(lines).encode() + data


def nrrd(data: bytes, *lines: str, sizes: str = "112 96 12", encoding: str = "raw") -> bytes:
    dimension = len(sizes.split())
    header = [
        "NRRD0004",
        "# a comment: of no meaning",
        "type: unsigned char",
        f"dimension: {dimension}",
        f"sizes: {sizes}",
        f"encoding: {encoding}",
        *lines,
    ]
    return "\n".join(header).encode() + b"\n\n" + data


def frames_of(path: Path, content: bytes) -> np.ndarray:
    path.write_bytes(content)
    return read_clip(path).frames


def reason_of(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(UnreadableClip) as raised:
        read_clip(path)
    return str(raised.value)


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
def test_volumes(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(FRAMES)
    image.SetSpacing((0.4, 0.6, 1.0))
    sitk.WriteImage(image, str(tmp_path / f"clip{suffix}"), suffix not in (".mhd", ".nhdr"))
    path = (tmp_path / f"clip{suffix}").rename(tmp_path / "clip.bin")
    clip = read_clip(path, max_frames=2)
    np.testing.assert_array_equal(clip.frames, FRAMES[[0, 11]])
    assert (clip.source_frames, clip.mm_per_px, clip.pixel_aspect) == (
        12,
        pytest.approx(0.4),
        pytest.approx(1.5),
    )


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_equal_to_simpleitk(tmp_path: Path, suffix: str, is_packed: bool, dtype: str) -> None:
    values = (FRAMES // 3).astype(dtype)
    path = tmp_path / f"clip{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), is_packed)
    expected = to_frames(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    np.testing.assert_array_equal(read_clip(path).frames, expected)


def test_unit_spacing_of_a_volume_means_unknown(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(tmp_path / "clip.mha"))
    assert read_clip(tmp_path / "clip.mha").mm_per_px is None


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_and_volumes_of_1_to_4_channels(tmp_path: Path, channels: int) -> None:
    expected = FRAMES if channels < 3 else COLOURS
    frames = FRAMES[..., None] if channels < 3 else COLOURS
    if channels in (2, 4):
        opacity = np.full((*FRAMES.shape, 1), 255, np.uint8)
        opacity[..., :50, :] = 0
        frames = np.concatenate([frames, opacity], axis=-1)
        expected = expected.copy()
        expected[:, :, :50] = 0
    assert frames.shape[-1] == channels
    np.savez_compressed(tmp_path / "a.npz", frames=frames)
    image = sitk.GetImageFromArray(frames, isVector=True)
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    sitk.WriteImage(image, str(tmp_path / "b.mha"), True)
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"), True)
    for name in ("a.npz", "a.mha", "b.mha", "a.nrrd"):
        clip = read_clip(tmp_path / name, max_frames=5)
        np.testing.assert_array_equal(clip.frames, expected[even_indices(12, 5)], err_msg=name)
        assert clip.source_frames == 12


@pytest.mark.parametrize(
    ("order", "lines", "sizes"),
    [
        ((0, 1, 2, 3), ("kinds: vector domain domain list",), "3 112 96 12"),
        ((0, 1, 2, 3), ("kinds: RGB-color domain domain list",), "3 112 96 12"),
        ((0, 1, 2, 3), (), "3 112 96 12"),
        ((3, 0, 1, 2), (), "112 96 12 3"),
        ((0, 3, 1, 2), ("kinds: domain domain vector list",), "112 96 3 12"),
        ((1, 2, 3, 0), ("kinds: list vector domain domain",), "12 3 112 96"),
    ],
)
def test_channels_and_frames_along_any_axis(
    tmp_path: Path, order: tuple[int, ...], lines: tuple[str, ...], sizes: str
) -> None:
    """3D Slicer writes frames along the axis that changes fastest, PLUS along the slowest."""
    data = np.ascontiguousarray(COLOURS.transpose(order)).tobytes()
    path = tmp_path / "a.nrrd"
    np.testing.assert_array_equal(frames_of(path, nrrd(data, *lines, sizes=sizes)), COLOURS)
    packed = nrrd(gzip.compress(data), *lines, sizes=sizes, encoding="gzip")
    path.write_bytes(packed)
    np.testing.assert_array_equal(read_clip(path, max_frames=3).frames, COLOURS[[0, 6, 11]])


@pytest.mark.parametrize("kinds", ["list domain domain domain", "domain domain domain list"])
def test_a_sequence_of_volumes_of_one_slice(tmp_path: Path, kinds: str) -> None:
    is_first = kinds.startswith("list")
    data = FRAMES.transpose(1, 2, 0) if is_first else FRAMES
    sizes = "12 112 96 1" if is_first else "112 96 1 12"
    content = nrrd(np.ascontiguousarray(data).tobytes(), f"kinds: {kinds}", sizes=sizes)
    np.testing.assert_array_equal(frames_of(tmp_path / "a.nrrd", content), FRAMES)


@pytest.mark.parametrize("sizes", ["112 96", "112 96 3 4", "2 112 96 12 1", "7 112 96 12"])
def test_what_is_no_stack_is_refused(tmp_path: Path, sizes: str) -> None:
    kinds = "kinds: " + " ".join(["domain"] * len(sizes.split()))
    data = bytes(int(np.prod([int(size) for size in sizes.split()])))
    if sizes == "112 96 3 4":
        kinds = "kinds: domain domain domain list"
    assert "not a stack of frames" in reason_of(tmp_path / "a.nrrd", nrrd(data, kinds, sizes=sizes))


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("mm", 1.0), ("cm", 10.0), ("um", 1e-3), ("µm", 1e-3), ("m", 1e3), ("px", None), ("s", None)],
)
def test_units_of_spacing(tmp_path: Path, unit: str, factor: float | None) -> None:
    expected = (None, 1.0) if factor is None else (pytest.approx(0.5 * factor), 1.2)
    raw = FRAMES.tobytes()
    files = [
        nrrd(raw, "spacings: 0.5 0.6 nan", f'units: "{unit}" "{unit}" ""'),
        nrrd(raw, "space directions: (0,.5) (-.6,0) none", f'space units: "{unit}" "{unit}"'),
        meta_image(raw, ElementSpacing="0.5 0.6 1", DistanceUnits=unit),
    ]
    for content in files:
        (tmp_path / "a").write_bytes(content)
        clip = read_clip(tmp_path / "a")
        assert (clip.mm_per_px, clip.pixel_aspect) == expected


def test_what_states_the_spacing_and_what_contradicts_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(meta_image(FRAMES.tobytes(), ElementSpacing="0.2 0.3 1", ElementSize="2 3 1"))
    clip = read_clip(path)
    assert (clip.mm_per_px, clip.pixel_aspect) == (0.2, pytest.approx(1.5))
    assert clip.scale_source == "ElementSpacing"
    assert clip.notes == (
        "scale: ElementSize says 10 times what ElementSpacing says, which counts",
    )
    path.write_bytes(meta_image(FRAMES.tobytes(), ElementSize="0.2 0.2 1"))
    assert read_clip(path).scale_source == "ElementSize"
    path.write_bytes(nrrd(FRAMES.tobytes(), "spacings: 0.2 0.3 nan"))
    assert read_clip(path).scale_source == "spacings"
    path.write_bytes(nrrd(FRAMES.tobytes(), "space directions: (0.2,0) (0,0.3) none"))
    assert read_clip(path).scale_source == "space directions"


@pytest.mark.parametrize("spacing", ["0.2 1.2", "1.2 0.2"])
def test_pixels_that_no_screen_has_have_no_size(tmp_path: Path, spacing: str) -> None:
    (tmp_path / "a").write_bytes(meta_image(FRAMES.tobytes(), ElementSpacing=f"{spacing} 1"))
    clip = read_clip(tmp_path / "a")
    assert (clip.mm_per_px, clip.pixel_aspect, clip.scale_source) == (None, 1.0, None)
    assert [note.split(": ")[0] for note in clip.notes] == ["scale"]


def test_every_encoding(tmp_path: Path) -> None:
    raw = FRAMES.tobytes()
    words = " ".join(map(str, FRAMES.ravel())).encode()
    contents = {
        "raw": meta_image(raw),
        "zlib": meta_image(PACKED, CompressedData="True", CompressedDataSize=str(len(PACKED))),
        "gzip": meta_image(gzip.compress(raw), CompressedData="True"),
        "words": meta_image(words, BinaryData="False"),
        "NRRD": nrrd(raw),
        "NRRD gzip": nrrd(gzip.compress(raw), encoding="gz"),
        "NRRD bzip2": nrrd(bz2.compress(raw), encoding="bzip2"),
        "NRRD words": nrrd(words, encoding="ascii"),
        "NRRD with a line before": nrrd(b"a line\n12" + raw, "line skip: 1", "byte skip: 2"),
        "NRRD at the end": nrrd(b"anything" + raw, "byte skip: -1"),
    }
    for name, content in contents.items():
        found = frames_of(tmp_path / "a", content)
        np.testing.assert_array_equal(found, FRAMES, err_msg=name)


def test_big_endian_numbers(tmp_path: Path) -> None:
    values = (FRAMES.astype(np.uint16) * 200).astype(">u2")
    expected = to_frames(values)
    content = meta_image(values.tobytes(), ElementType="MET_USHORT", BinaryDataByteOrderMSB="True")
    np.testing.assert_array_equal(frames_of(tmp_path / "a", content), expected)
    content = nrrd(values.tobytes(), "endian: big").replace(b"unsigned char", b"uint16")
    np.testing.assert_array_equal(frames_of(tmp_path / "a", content), expected)


def test_only_pixels_of_the_file_are_a_clip(tmp_path: Path) -> None:
    """Nothing stands in for what is not there: neither zeros nor what memory held before."""
    raw, path = FRAMES.tobytes(), tmp_path / "a"
    packed_size = {"CompressedData": "True", "CompressedDataSize": str(len(PACKED))}
    half = zlib.compress(raw[: len(raw) // 2])
    whole = frames_of(path, meta_image(PACKED, CompressedData="True"))
    np.testing.assert_array_equal(whole, FRAMES)  # though its size is not stated
    assert "6 of 12 frames" in reason_of(path, meta_image(half, CompressedData="True"))
    assert "12 of 13 frames" in reason_of(
        path, meta_image(PACKED, **packed_size, DimSize="112 96 13")
    )
    assert "5 of 12 frames" in reason_of(
        path, meta_image(zlib.compress(raw[: 112 * 96 * 5 + 99]), CompressedData="True")
    )
    assert "more pixels" in reason_of(path, meta_image(PACKED, **packed_size, DimSize="112 96 11"))
    assert "more pixels" in reason_of(path, meta_image(raw, DimSize="112 96 11"))
    assert "damaged or incomplete" in reason_of(path, meta_image(PACKED[:-2], CompressedData="1"))
    shorter = packed_size | {"CompressedDataSize": str(len(PACKED) // 2)}
    assert "of 12 frames" in reason_of(path, meta_image(PACKED, **shorter))
    wrong_sum = PACKED[:-1] + bytes([PACKED[-1] ^ 1])
    assert "damaged" in reason_of(path, meta_image(wrong_sum, **packed_size))
    for encoding, data in (("gzip", gzip.compress(raw)), ("bzip2", bz2.compress(raw))):
        short = nrrd(data[: len(data) // 2], encoding=encoding)
        assert "damaged" in reason_of(path, short)
        claims_more = nrrd(data, sizes="112 96 13", encoding=encoding)
        assert "12 of 13 frames" in reason_of(path, claims_more)
    assert "11 of 12 frames" in reason_of(path, nrrd(raw[:-1]))
    lines = nrrd(raw[:-40], "kinds: list domain domain", sizes="12 112 96")
    assert "incomplete" in reason_of(path, lines)


def test_an_nrrd_says_the_order_of_bytes_and_skips_no_more_lines_than_there_are(
    tmp_path: Path,
) -> None:
    values = FRAMES.astype("<u2").tobytes()
    content = nrrd(values).replace(b"unsigned char", b"uint16")
    assert "the order of its numbers' bytes" in reason_of(tmp_path / "a", content)
    content = nrrd(FRAMES.tobytes(), "line skip: 99999999999999")
    assert "0 of 12 frames" in reason_of(tmp_path / "a", content)


def test_words_that_are_no_numbers_of_their_type(tmp_path: Path) -> None:
    words = " ".join(map(str, FRAMES.ravel())).encode()
    for wrong in (b"300", b"-1", b"x", b"1.5", b"nan"):
        content = meta_image(wrong + words[words.index(b" ") :], BinaryData="False")
        assert "its pixels are" in reason_of(tmp_path / "a", content)


def test_a_long_header_and_a_long_clip_take_little_memory(tmp_path: Path) -> None:
    """A thousand tracked frames have a header of megabytes, and pixels of a gigabyte."""
    frames = np.repeat(FRAMES[:1], 3000, axis=0)
    tracked = {
        f"Seq_Frame{number:04}_{tool}ToTrackerTransform": "0.123456 " * 16
        for number in range(3000)
        for tool in ("Probe", "Reference", "Stylus")
    }
    packed = zlib.compress(frames.tobytes(), 1)
    fields = {"CompressedData": "True", "DimSize": "112 96 3000", **tracked}
    (tmp_path / "a.mha").write_bytes(meta_image(packed, **fields))
    assert (tmp_path / "a.mha").stat().st_size - len(packed) > 1 << 20
    tracemalloc.start()
    clip = read_clip(tmp_path / "a.mha", max_frames=4)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(clip.frames, frames[:4])
    assert clip.source_frames == 3000
    assert peak_bytes < frames.nbytes / 4


def test_pixels_lie_in_this_file_or_in_one_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mhd"
    for elsewhere in ("../b.raw", "/etc/passwd", "b%03d.raw 1 3 1", "LIST", "..", "c\\b.raw"):
        said = reason_of(path, meta_image(b"", ElementDataFile=elsewhere))
        assert said == "its header names other files than one beside it"
    said = reason_of(path, meta_image(bytes(FRAMES.size), ElementDataFile="a.mhd"))
    assert said == "its header names itself as the file with its pixels"
    said = reason_of(path, meta_image(b"", ElementDataFile="Musterfrau.raw"))
    assert said == "the .raw file with its pixels is not beside it"


def test_a_volume_may_not_link_to_its_pixels(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(tmp_path / "a.mhd"))
    assert len(read_clip(tmp_path / "a.mhd").frames) == 12
    (tmp_path / "a.raw").rename(tmp_path / "secret")
    (tmp_path / "a.raw").symlink_to("secret")
    with pytest.raises(UnreadableClip, match="other files than one beside it"):
        read_clip(tmp_path / "a.mhd")


@pytest.mark.skipif(
    "BSOU_CLIPS" not in os.environ, reason="BSOU_CLIPS names no folder of real clips"
)
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("freehand-spine-phantom.igs.mha", (21, 616, 820)),
        ("bone-linear-probe.igs.mha", (21, 616, 820)),
        ("nwire-phantom-freehand.igs.nrrd", (97, 616, 820)),
    ],
)
def test_real_sweeps(name: str, shape: tuple[int, ...]) -> None:
    clip = read_clip(Path(os.environ["BSOU_CLIPS"]) / name)
    assert isinstance(clip, RawClip)
    assert (clip.frames.shape, clip.mm_per_px) == (shape, None)
