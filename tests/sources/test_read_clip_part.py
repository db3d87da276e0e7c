"""A clip that is a part of a file, in every container."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from fan_clips import FanClip, fan_frames, row, write_video

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.phantom.files.meta_image import write_meta_image
from bsou_dist.sources.raw_clip import UnreadableClip, even_indices
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()  # (12, 96, 112)
PART = FrameRange(3, 11)
CONTAINERS = ("raw.mha", "packed.mha", "a.nrrd", "a.npz", "a.dcm", "a.mp4")


def written(folder: Path, name: str, frames: np.ndarray) -> Path:
    path = folder / name
    count, height, width = frames.shape
    if path.suffix == ".mha":
        write_meta_image(path, frames, 0.28, compressed=name.startswith("packed"))
    elif path.suffix == ".nrrd":
        header = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: {width} {height} {count}\n"
        path.write_bytes(f"{header}encoding: gzip\n\n".encode() + gzip.compress(frames.tobytes()))
    elif path.suffix == ".npz":
        np.savez(path, frames=frames)
    elif path.suffix == ".mp4":
        write_video(path, frames, "libx264")
    else:
        write_phantom([FanClip(row(0), frames)], folder)
        path = folder / "clips/000000.dcm"
    return path


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("max_frames", [None, 3])
def test_a_part_is_the_frames_of_the_whole(
    tmp_path: Path, name: str, max_frames: int | None
) -> None:
    path = written(tmp_path, name, FRAMES)
    whole, part = read_clip(path), read_clip(path, max_frames, part=PART)
    chosen = [3 + place for place in even_indices(8, max_frames)]
    np.testing.assert_array_equal(part.frames, whole.frames[chosen])
    assert part.source_frames == 8
    assert part.mm_per_px == whole.mm_per_px


@pytest.mark.parametrize("name", CONTAINERS)
def test_black_frames_at_the_ends_of_a_part_are_fill(tmp_path: Path, name: str) -> None:
    frames = FRAMES.copy()
    frames[[3, 4, 7, 10]] = 0  # the one in the midst belongs to the clip
    path = written(tmp_path, name, frames)
    whole = read_clip(path)
    assert len(whole.frames) == 12  # of a whole file nothing is dropped
    part = read_clip(path, part=PART)
    np.testing.assert_array_equal(part.frames, whole.frames[5:10])
    assert part.source_frames == 5
    few = read_clip(path, 2, part=PART)
    np.testing.assert_array_equal(few.frames, whole.frames[[5, 9]])


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (FrameRange(5, 13), "holds 12 frames, and its table names frames 5 to 12"),
        (FrameRange(0, 4, 13), "holds 12 frames, and its table says 13"),
        (FrameRange(0, 4, 12), None),
    ],
)
def test_what_the_file_does_not_hold_is_refused(
    tmp_path: Path, name: str, part: FrameRange, reason: str | None
) -> None:
    path = written(tmp_path, name, FRAMES)
    if reason is None:
        assert read_clip(path, part=part).source_frames == 4
        return
    with pytest.raises(UnreadableClip, match=reason):
        read_clip(path, part=part)


def test_a_part_of_black_frames_alone_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "raw.mha", np.zeros_like(FRAMES))
    with pytest.raises(UnreadableClip, match="all frames of its part of the file are black"):
        read_clip(path, 2, part=PART)


@pytest.mark.parametrize("name", ["raw.mha", "packed.mha"])
def test_a_part_of_a_stack_that_is_cut_short_behind_it_is_refused(
    tmp_path: Path, name: str
) -> None:
    """Fewer bytes are missing than the header takes, so that the size alone does not tell."""
    path = written(tmp_path, name, FRAMES)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UnreadableClip, match="incomplete"):
        read_clip(path, part=FrameRange(0, 4))


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 1, 0), (1, 0, 2)])
def test_frames_along_another_axis_are_found_by_their_number(
    tmp_path: Path, order: tuple[int, int, int]
) -> None:
    turned = np.ascontiguousarray(FRAMES.transpose(order))
    path = written(tmp_path, "raw.mha", turned)
    part = FrameRange(3, 11, 12)
    clip = read_clip(path, 3, part=part)
    np.testing.assert_array_equal(clip.frames, FRAMES[[3, 7, 10]])
    assert clip.notes[0].startswith("frames along another axis: ")
    assert clip.mm_per_px is None  # the header's is that of other axes
    straight = read_clip(written(tmp_path, "raw.mha", FRAMES), 3, part=part)
    np.testing.assert_array_equal(clip.frames, straight.frames)
    assert straight.notes == ()


def test_a_stack_of_another_number_of_frames_is_no_other_axis(tmp_path: Path) -> None:
    path = written(tmp_path, "raw.mha", FRAMES)
    with pytest.raises(UnreadableClip, match="holds 12 frames, and its table says 13"):
        read_clip(path, part=FrameRange(0, 4, 13))
