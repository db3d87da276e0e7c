"""However a tracked sequence stores its frames, the marked side comes left and far comes down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fan_clips import fan_frames

from bsou_dist.sources.raw_clip import UnreadableClip
from bsou_dist.sources.read_clip import read_clip

SHOWN = fan_frames()[:, :, :100].copy()  # (12, 96, 100), neither square nor symmetric
SHOWN[:, 50:, :20] = 200


def stored(code: str) -> np.ndarray:
    """`SHOWN` as PLUS stores it: the first letter is where columns go, the second where rows go."""
    frames = SHOWN
    if "U" in code:
        frames = frames[:, :, ::-1]
    if "N" in code:
        frames = frames[:, ::-1]
    return frames.swapaxes(1, 2) if code[0] in "FN" else frames


UPRIGHT = ((1, 0), (0, 1))


def with_directions(column: tuple[int, int], row: tuple[int, int], code: str) -> dict[str, bytes]:
    """`SHOWN`, with the directions of its columns' axis and of its rows' in a space."""
    count, height, width = SHOWN.shape
    sizes = f"{width} {height} {count}"
    matrix = " ".join(str(step) for step in (*column, 0, *row, 0, 0, 0, 1))
    across, down = (f"({0.2 * axis[0]},{0.2 * axis[1]},0)" for axis in (column, row))
    return {
        "MHA": f"ObjectType = Image\nNDims = 3\nDimSize = {sizes}\nElementType = MET_UCHAR\n"
        f"ElementSpacing = 0.2 0.2 1\nTransformMatrix = {matrix}\n"
        f"UltrasoundImageOrientation = {code}\nElementDataFile = LOCAL\n".encode()
        + SHOWN.tobytes(),
        "NRRD": f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {sizes}\nencoding: raw\n"
        f"space: left-posterior-superior\nspace directions: {across} {down} (0,0,1)\n"
        f"ultrasound image orientation:={code}\n\n".encode()
        + SHOWN.tobytes(),
    }


@pytest.mark.parametrize("code", ["", "MF"])
@pytest.mark.parametrize(
    ("column", "row"),
    [
        UPRIGHT,
        ((-1, 0), (0, 1)),
        ((1, 0), (0, -1)),
        ((-1, 0), (0, -1)),
        ((0, 1), (1, 0)),
        ((0, -1), (1, 0)),
    ],
)
def test_a_direction_matrix_moves_no_pixel_and_is_noted(
    tmp_path: Path, column: tuple[int, int], row: tuple[int, int], code: str
) -> None:
    for name, content in with_directions(column, row, code).items():
        (tmp_path / "a").write_bytes(content)
        clip = read_clip(tmp_path / "a")
        np.testing.assert_array_equal(clip.frames, SHOWN, err_msg=name)
        assert (clip.mm_per_px, clip.pixel_aspect) == (pytest.approx(0.2), pytest.approx(1.0))
        kinds = [note.split(": ")[0] for note in clip.notes]
        assert kinds == ([] if (column, row) == UPRIGHT else ["orientation"]), name


def contents(frames: np.ndarray, code: str) -> dict[str, bytes]:
    count, height, width = frames.shape
    sizes = f"{width} {height} {count}"
    return {
        "MHA": f"ObjectType = Image\nNDims = 3\nDimSize = {sizes}\nElementType = MET_UCHAR\n"
        f"ElementSpacing = 0.2 0.3 1\nUltrasoundImageOrientation = {code}\n"
        "ElementDataFile = LOCAL\n".encode()
        + frames.tobytes(),
        "NRRD of PLUS": f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {sizes}\nencoding: raw\n"
        "space directions: (0.2,0) (0,0.3) none\n"
        f"ultrasound image orientation:={code}\n\n".encode()
        + frames.tobytes(),
        "NRRD": f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {sizes}\nencoding: raw\n"
        f"spacings: 0.2 0.3 nan\nUltrasoundImageOrientation:={code}\n\n".encode()
        + frames.tobytes(),
    }


@pytest.mark.parametrize("sequence", ["", "A", "D"])
@pytest.mark.parametrize("code", ["MF", "MN", "UF", "UN", "FM", "NM", "FU", "NU"])
def test_the_marked_side_is_left_and_far_is_down(tmp_path: Path, code: str, sequence: str) -> None:
    for name, content in contents(stored(code), code + sequence).items():
        (tmp_path / "a").write_bytes(content)
        clip = read_clip(tmp_path / "a")
        np.testing.assert_array_equal(clip.frames, SHOWN, err_msg=name)
        is_transposed = code[0] in "FN"
        assert clip.mm_per_px == pytest.approx(0.3 if is_transposed else 0.2)
        assert clip.pixel_aspect == pytest.approx(2 / 3 if is_transposed else 1.5)


def test_what_nobody_knows_stays_as_it_is(tmp_path: Path) -> None:
    for code in ("", "XX"):
        for content in contents(SHOWN, code).values():
            (tmp_path / "a").write_bytes(content)
            np.testing.assert_array_equal(read_clip(tmp_path / "a").frames, SHOWN)


@pytest.mark.parametrize("code", ["AMF", "MU", "FN", "M", "MFX", "RL"])
def test_what_no_picture_can_be_is_refused(tmp_path: Path, code: str) -> None:
    for content in contents(SHOWN, code).values():
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(UnreadableClip, match="none of MF, MN, UF, UN"):
            read_clip(tmp_path / "a")
