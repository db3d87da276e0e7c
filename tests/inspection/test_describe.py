from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bsou_dist.common.errors import InputError
from bsou_dist.inspection.describe import check_picture, contact_sheet, describe, varied
from bsou_dist.packing.pack import KEY_NAME
from bsou_dist.shards.pseudonyms import Pseudonymizer, load_key

Packed = tuple[Path, Path]


def test_counts_of_the_folder(packed: Packed) -> None:
    lines = describe(packed[0]).splitlines()
    assert lines[0] == "10 clips of 2 patients, 4 studies, 4 exams, in 3 shards"
    assert lines[1].startswith("60 frames of 48 px")
    assert [line.split() for line in lines[lines.index("by sweep:") + 1 :][:3]] == [
        ["M", "4"],
        ["L", "3"],
        ["missing", "3"],
    ]
    assert ["Acme", "One", "5"] in [line.split() for line in lines]
    assert not any("label" in line for line in lines)


def test_counts_by_label_need_the_cohort_and_the_key(
    cohort: tuple[pd.DataFrame, Path], packed: Packed
) -> None:
    pseudonymizer = Pseudonymizer(load_key(packed[1] / KEY_NAME))
    table = cohort[0].drop(index=9)  # a clip that the table no longer has
    lines = describe(packed[0], table, pseudonymizer).splitlines()
    assert "labels of 9 clips found in the cohort table" in lines
    start = lines.index("by label presentation:")
    assert [line.split() for line in lines[start + 1 : start + 4]] == [
        ["cephalic", "6"],
        ["non_cephalic", "3"],
        ["missing", "1"],
    ]
    assert "label ga: 9 known, mean 144.0, 140.0 to 148.0 days" in lines


def test_another_cohort_or_key_is_refused(
    cohort: tuple[pd.DataFrame, Path], packed: Packed
) -> None:
    theirs = Pseudonymizer(load_key(packed[1] / KEY_NAME))
    other = cohort[0].assign(path="other/" + cohort[0]["path"])
    with pytest.raises(
        InputError, match=r"is in the cohort, .*; name the cohort that they were packed from"
    ):
        describe(packed[0], other, theirs)
    with pytest.raises(InputError, match=r"is in the cohort, .*; name theirs with --pseudonym-key"):
        describe(packed[0], cohort[0], Pseudonymizer(bytes(32)))


def test_a_picture_has_a_name_and_a_folder(tmp_path: Path) -> None:
    check_picture(tmp_path / "sheet.PNG")
    with pytest.raises(
        InputError, match=r"sheet.foo is no name for a picture; it must end in .png"
    ):
        check_picture(tmp_path / "sheet.foo")
    with pytest.raises(InputError, match=r"there is no folder .*absent"):
        check_picture(tmp_path / "absent/sheet.png")


def test_a_missing_shard_is_named(packed: Packed, tmp_path: Path) -> None:
    shards = Path(shutil.copytree(packed[0], tmp_path / "shards"))
    (shards / "000001.tar").unlink()
    with pytest.raises(
        InputError, match=r"shard 000001.tar is missing from .*; 'bsou verify' tells"
    ):
        contact_sheet(shards, tmp_path / "sheet.png")
    (shards / "000000.tar").unlink()
    with pytest.raises(InputError, match=r"shard 000000.tar and 1 more are missing"):
        contact_sheet(shards, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_contact_sheet_shows_frames_of_every_device_and_sweep(
    packed: Packed, tmp_path: Path
) -> None:
    contact_sheet(packed[0], tmp_path / "sheet.png", clips=6, frames=3, tile_px=64)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (6 * (64 + 14), 3 * 64)
    rows = sheet.reshape(6, 78, 3 * 64)
    assert (rows[:, :14].max(axis=(1, 2)) > 200).all()  # captions
    assert (
        rows[:, 14:].reshape(6, 64, 3, 64).max(axis=(1, 3)) > 40
    ).all()  # a picture in every tile
    contact_sheet(packed[0], tmp_path / "few.png", clips=100, frames=2, tile_px=32)
    assert Image.open(tmp_path / "few.png").size == (64, 10 * 46)


def test_a_sample_covers_devices_and_sweeps_before_it_repeats() -> None:
    manifest = pd.DataFrame(
        {"device": ["A"] * 5 + ["B", None], "sweep": ["M", "M", "M", "L", None, "M", None]}
    )
    assert varied(manifest, 5, ("device", "sweep")).index.tolist() == [0, 3, 4, 5, 6]
    assert varied(manifest, 6, ("device", "sweep")).index.tolist() == [0, 1, 3, 4, 5, 6]
