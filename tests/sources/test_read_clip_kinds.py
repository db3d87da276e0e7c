"""Files as scanners, capture boxes and telephones write them."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from fan_clips import FanClip, fan_frames, row, write_video
from pydicom.pixels import set_pixel_data
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGLSLossless,
    RLELossless,
)

from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.sources.raw_clip import UnreadableClip, even_in_time, even_indices, refuse_impossible
from bsou_dist.sources.read_clip import read_clip, refuse_outside

FRAMES = fan_frames()  # (12, 96, 112)
COLOURS = np.stack([FRAMES, FRAMES // 2, 255 - FRAMES], axis=-1)


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    write_phantom([FanClip(row(0), FRAMES)], tmp_path)
    return tmp_path / "clips" / "000000.dcm"


def video(
    path: Path,
    frames: np.ndarray,
    given: str,
    codec: str,
    stored: str,
    *,
    times: list[int] | None = None,
    prepare: Callable[[av.VideoStream], None] = lambda stream: None,
    **options: str,
) -> Path:
    """A lossless video unless the codec is not; times in ms."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=20, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = stored
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        prepare(stream)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=given)
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def close(ours: np.ndarray, truth: np.ndarray) -> bool:
    return ours.shape == truth.shape and np.abs(ours.astype(int) - truth).mean() < 3


@pytest.mark.parametrize(
    ("degrees", "hflip", "vflip"),
    [
        (degrees, hflip, vflip)
        for degrees in (0, 90, 180, 270)
        for hflip in (False, True)
        for vflip in (False, True)
    ],
)
def test_a_rotated_or_mirrored_video_is_shown_upright(
    tmp_path: Path, degrees: int, hflip: bool, vflip: bool
) -> None:
    def turn(stream: av.VideoStream) -> None:
        stream.set_display_rotation(degrees, hflip=hflip, vflip=vflip)

    path = video(tmp_path / "a.mp4", FRAMES, "gray", "libx264", "yuv420p", prepare=turn, crf="4")
    truth = np.rot90(FRAMES, degrees // 90, axes=(1, 2))
    truth = truth[:, :: -1 if vflip else 1, :: -1 if hflip else 1]
    assert close(read_clip(path).frames[..., 0], truth)


def test_a_rotated_video_keeps_its_tall_pixels(tmp_path: Path) -> None:
    def tall(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(1, 2)

    def tall_and_turned(stream: av.VideoStream) -> None:
        tall(stream)
        stream.set_display_rotation(90)

    path = video(tmp_path / "a.mp4", FRAMES, "gray", "libx264", "yuv420p", prepare=tall)
    assert read_clip(path).pixel_aspect == 2.0
    path = video(tmp_path / "b.mp4", FRAMES, "gray", "libx264", "yuv420p", prepare=tall_and_turned)
    assert read_clip(path).pixel_aspect == 0.5


@pytest.mark.parametrize(
    ("given", "stored", "codec", "suffix", "depth"),
    [
        ("gray", "gray", "ffv1", "mkv", 8),
        ("gray16le", "gray16le", "ffv1", "mkv", 16),
        ("gray10le", "gray10le", "ffv1", "mkv", 10),
        ("gray", "yuv420p10le", "libx264", "mp4", 8),
        ("gray", "yuv444p", "libx264", "mp4", 8),
        ("gray", "yuvj422p", "mjpeg", "mov", 8),
        ("gray", "gray", "rawvideo", "avi", 8),
    ],
)
def test_grey_of_8_to_16_bits(
    tmp_path: Path, given: str, stored: str, codec: str, suffix: str, depth: int
) -> None:
    deep = FRAMES if depth == 8 else FRAMES.astype(np.uint16) << (depth - 8)
    options = {"libx264": {"qp": "4"}, "mjpeg": {"qmin": "1", "qmax": "2"}}.get(codec, {})
    clip = read_clip(video(tmp_path / f"a.{suffix}", deep, given, codec, stored, **options))
    grey = clip.frames if clip.frames.ndim == 3 else clip.frames[..., 1]
    assert close(grey, FRAMES)
    assert abs(int(grey.max()) - int(FRAMES.max())) < 8


@pytest.mark.parametrize(
    ("given", "stored", "codec", "suffix"),
    [
        ("rgb24", "rgb24", "qtrle", "mov"),
        ("rgb24", "rgb24", "png", "mov"),
        ("rgb24", "bgr0", "ffv1", "mkv"),
        ("rgb24", "bgr24", "rawvideo", "avi"),
        ("rgb24", "yuv444p", "libx264", "mkv"),
    ],
)
def test_colour_of_8_bits(tmp_path: Path, given: str, stored: str, codec: str, suffix: str) -> None:
    options = {"qp": "4"} if codec == "libx264" else {}
    assert close(
        read_clip(video(tmp_path / f"a.{suffix}", COLOURS, given, codec, stored, **options)).frames,
        COLOURS,
    )


@pytest.mark.parametrize(
    ("stored", "codec", "suffix"),
    [
        ("argb", "qtrle", "mov"),
        ("rgba", "png", "mov"),
        ("bgra", "ffv1", "mkv"),
        ("ya8", "png", "mov"),
    ],
)
def test_what_is_transparent_is_black(tmp_path: Path, stored: str, codec: str, suffix: str) -> None:
    frames = np.stack([FRAMES, FRAMES, FRAMES, np.full_like(FRAMES, 255)], axis=-1)
    frames[:, :, :30, :] = (200, 200, 200, 0)
    frames[:, :, 30:60, 3] = 128
    shown = read_clip(video(tmp_path / f"a.{suffix}", frames, "rgba", codec, stored)).frames[..., 1]
    assert shown[:, :, :30].max() == 0
    assert close(shown[:, :, 30:60], FRAMES[:, :, 30:60] * (128 / 255))
    assert close(shown[:, :, 60:], FRAMES[:, :, 60:])


def test_a_palette_of_colours(tmp_path: Path) -> None:
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 3], palette[:, 0] = 255, np.arange(256)[::-1]  # of a value, its complement in red
    with av.open(tmp_path / "a.mov", "w") as container:
        stream = container.add_stream("png", rate=20)
        stream.height, stream.width, stream.pix_fmt = 96, 112, "pal8"
        for pixels in FRAMES:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray((pixels, palette), format="pal8"))
            )
        container.mux(stream.encode(None))
    frames = read_clip(tmp_path / "a.mov").frames
    np.testing.assert_array_equal(np.sort(frames, axis=-1)[..., 2], 255 - FRAMES)
    np.testing.assert_array_equal(np.sort(frames, axis=-1)[..., 1], 0)


def test_of_interlaced_frames_one_field_is_shown(tmp_path: Path) -> None:
    """Two fields of another moment each make a comb of everything that moves; every second line
    stays as it was.
    """
    woven = FRAMES[:-1].copy()
    woven[:, 1::2] = FRAMES[1:, 1::2]

    def interlaced(stream: av.VideoStream) -> None:
        stream.codec_context.flags |= 1 << 18 | 1 << 29  # interlaced DCT and motion estimation

    path = video(
        tmp_path / "a.avi",
        woven,
        "gray",
        "mpeg2video",
        "yuv420p",
        prepare=interlaced,
        qmax="2",
        qmin="1",
        b="9000000",
        top="1",
    )
    frames = read_clip(path).frames[..., 0].astype(float)
    assert close(frames[:, ::2], woven[:, ::2])
    between = (woven[:, :-2:2].astype(float) + woven[:, 2::2]) / 2
    assert close(frames[:, 1:-1:2], between)
    assert not close(frames[:, 1::2], woven[:, 1::2])


def test_frames_are_even_in_time_where_their_rate_varies(tmp_path: Path) -> None:
    fast_then_slow = [0, 10, 20, 30, 40, 50, 60, 70, 80, 180, 280, 400]  # ms
    truth = [0, 8, 9, 10, 11]  # nearest to 0, 100, 200, 300 and 400
    path = video(tmp_path / "a.mkv", FRAMES, "gray", "ffv1", "gray", times=fast_then_slow)
    clip = read_clip(path, max_frames=5)
    np.testing.assert_array_equal(clip.frames, FRAMES[truth])
    assert clip.source_frames == 12
    path = video(
        tmp_path / "a.mp4",
        FRAMES,
        "gray",
        "libx264",
        "yuv420p",
        times=fast_then_slow,
        bf="2",
        crf="4",
    )
    assert close(read_clip(path, max_frames=5).frames[..., 0], FRAMES[truth])


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


def test_times_that_say_nothing_are_not_followed() -> None:
    steady = [index / 30 for index in range(100)]
    rounded = [round(time, 2) for time in steady]
    assert even_in_time(steady, 7) == even_in_time(rounded, 7) == even_indices(100, 7)
    for useless in ([float("nan"), *steady[1:]], [0.0] * 100, [*steady[:99], 1e6]):
        assert even_in_time(useless, 7) == even_indices(100, 7)
    assert even_in_time(steady, None) == list(range(100))
    assert even_in_time(steady[:2], 5) == [0, 1]


def test_of_2000_frames_only_those_wanted_are_held(tmp_path: Path) -> None:
    def moving(index: int) -> np.ndarray:
        return np.full((96, 112), index // 8, np.uint8)

    write_video(tmp_path / "a.mp4", np.stack([moving(index) for index in range(2000)]), crf="4")
    clip = read_clip(tmp_path / "a.mp4", max_frames=5)
    assert clip.source_frames == 2000
    assert (
        np.abs(clip.frames[..., 0].mean(axis=(1, 2)) - np.array([0, 62.5, 125, 187, 249])).max() < 4
    )


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_two_frames_are_a_clip(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / name, FRAMES[:2], "mjpeg" if name == "a.avi" else "libx264")
    assert read_clip(tmp_path / name, max_frames=48).frames.shape == (2, 96, 112, 3)


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mov"])
def test_a_video_that_ends_too_early_is_refused(tmp_path: Path, name: str) -> None:
    options = {"movflags": "faststart"} if name == "a.mov" else {}
    write_video(
        tmp_path / name, fan_frames(count=60), "mjpeg" if name == "a.avi" else "libx264", **options
    )
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(UnreadableClip, match="truncated or damaged video"):
        read_clip(tmp_path / name)


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
        truth = np.rint(
            FRAMES * (255 / FRAMES.max())
        )  # of 16 bits, only those used are known to be used
    else:
        set_pixel_data(dataset, COLOURS, "RGB", 8)
        truth = COLOURS
    if syntax in (RLELossless, JPEGLSLossless):
        dataset.compress(syntax)
        if kind == "RGB, planes apart":
            dataset.PlanarConfiguration = (
                1  # what makers write; each syntax has its own order of planes
            )
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
    np.testing.assert_array_equal(clip.frames, truth[even_indices(12, 5)])


def test_a_palette_may_be_in_segments(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    ramp = np.array(
        [0, 1, 0, 1, 255, 65280], "<u2"
    )  # discrete: one entry, 0; linear: 255 entries, up to 65280
    for colour in ("Red", "Green", "Blue"):
        dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", ramp.tobytes())
    dataset.save_as(dicom)
    np.testing.assert_array_equal(read_clip(dicom).frames, np.repeat(FRAMES[..., None], 3, axis=-1))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_and_volumes_of_1_to_4_channels(tmp_path: Path, channels: int) -> None:
    grey = channels < 3
    opaque = np.full((*FRAMES.shape, 1), 255, np.uint8)
    opaque[..., :50, :] = 0
    frames = np.concatenate(
        [FRAMES[..., None] if grey else COLOURS, opaque][: 1 if channels in (1, 3) else 2], axis=-1
    )
    truth = FRAMES if grey else COLOURS
    if channels in (2, 4):
        truth = np.where(opaque[..., 0] if grey else opaque, truth, 0)
    np.savez_compressed(tmp_path / "a.npz", frames=frames)
    image = sitk.GetImageFromArray(frames, isVector=True)
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    sitk.WriteImage(image, str(tmp_path / "b.mha"), True)
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"), True)
    for name in ("a.npz", "a.mha", "b.mha", "a.nrrd"):
        clip = read_clip(tmp_path / name, max_frames=5)
        np.testing.assert_array_equal(clip.frames, truth[even_indices(12, 5)], err_msg=name)
        assert clip.source_frames == 12


def test_opacity_has_a_scale_of_its_own(tmp_path: Path) -> None:
    opaque = np.ones_like(FRAMES, np.float32)
    np.savez(tmp_path / "a.npz", frames=np.stack([FRAMES / np.float32(255), opaque], axis=-1))
    assert close(read_clip(tmp_path / "a.npz").frames, FRAMES * (255 / FRAMES.max()))


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
        if suffix == "mha":
            with pytest.raises(UnreadableClip, match="rename it"):
                read_clip(latin_1)
        else:
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


def test_a_volume_may_not_link_to_its_pixels(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(tmp_path / "a.mhd"))
    assert len(read_clip(tmp_path / "a.mhd").frames) == 12
    (tmp_path / "a.raw").rename(tmp_path / "secret")
    (tmp_path / "a.raw").symlink_to("secret")
    with pytest.raises(UnreadableClip, match="other files than one beside it"):
        read_clip(tmp_path / "a.mhd")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    pipe = os.open(tmp_path / "a.mp4", os.O_RDWR)
    os.write(pipe, bytes(4096))  # so that who reads all the same is told, and does not wait
    with pytest.raises(UnreadableClip, match="it is no file"):
        read_clip(tmp_path / "a.mp4")
    os.close(pipe)


@pytest.mark.parametrize(
    ("count", "height", "width"), [(0, 8, 8), (1, 0, 8), (1, 8, -1), (1, 8, 1 << 15)]
)
def test_sizes_that_no_picture_has_are_refused(count: int, height: int, width: int) -> None:
    refuse_impossible(1, 8, 8, 0, 1)
    with pytest.raises(UnreadableClip, match="its header claims"):
        refuse_impossible(count, height, width, 0, 1)
