from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bsou_dist.common.errors import InputError
from bsou_dist.inspection.contact_sheet import check_picture, contact_sheet, varied

Packed = tuple[Path, Path]


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
    captions = rows[:, :14]
    tiles = rows[:, 14:].reshape(6, 64, 3, 64)
    assert (captions.max(axis=(1, 2)) > 200).all()
    assert (tiles.max(axis=(1, 3)) > 40).all()  # a picture in every one
    contact_sheet(packed[0], tmp_path / "few.png", clips=100, frames=2, tile_px=32)
    assert Image.open(tmp_path / "few.png").size == (64, 10 * 46)


def test_a_sample_covers_devices_and_sweeps_before_it_repeats() -> None:
    manifest = pd.DataFrame(
        {"device": ["A"] * 5 + ["B", None], "sweep": ["M", "M", "M", "L", None, "M", None]}
    )
    assert varied(manifest, 5, ("device", "sweep")).index.tolist() == [0, 3, 4, 5, 6]
    assert varied(manifest, 6, ("device", "sweep")).index.tolist() == [0, 1, 3, 4, 5, 6]
