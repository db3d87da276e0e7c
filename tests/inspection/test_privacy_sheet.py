from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fan_clips import FanClip, fan_frames, printed_over, read_table, row
from packed_cohort import quiet_packer
from PIL import Image

from bsou_dist.cli import main
from bsou_dist.cohort.table import Cohort
from bsou_dist.inspection.privacy_sheet import privacy_sheet
from bsou_dist.packing.pack import PackConfig
from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.prepare.prepare_clip import PrepareConfig
from bsou_dist.shards.manifest import read_manifest

Packed = tuple[Path, Path]
WIDTH, HEIGHT = 240, 200


def test_the_sheet_begins_with_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [
        FanClip(row(number), fan_frames(number, 12, HEIGHT, WIDTH), mm_per_px=0.6)
        for number in range(6)
    ]
    clips[4] = FanClip(clips[4].row, printed_over(clips[4].frames, "ERIKA 10:42"), mm_per_px=0.6)
    table = read_table(write_phantom(clips, tmp_path / "cohort"))
    config = PackConfig(prepare=PrepareConfig(size_px=192, field_mm=120.0, max_frames=12))
    packer = quiet_packer(tmp_path / "shards", tmp_path / "shards.private", config)
    packer.run(Cohort(table, tmp_path / "cohort"))
    keys = read_manifest(tmp_path / "shards")["key"].tolist()
    sheet = tmp_path / "sheet.png"
    looked_at = privacy_sheet(tmp_path / "shards", sheet, clips=6, tile_px=128)
    assert looked_at[0] == (keys[4], 1)
    assert sorted(key for key, _ in looked_at) == sorted(keys)
    pixels = np.asarray(Image.open(sheet))
    assert pixels.shape == (16 + 6 * (128 + 16), 5 * 128, 3)
    red = (pixels[..., 0] > 200) & (pixels[..., 2] < 100)
    assert red[32:160].sum() > 4 * 60  # the box, in four tiles
    assert (tmp_path / "shards" / "sheet.png").exists() is False

    monkeypatch.chdir(tmp_path)
    assert main(["inspect", "shards", "--privacy"]) == 0
    said = capsys.readouterr().out
    assert "6 clips, the most suspicious first, 1 with boxes" in said
    assert "no program can tell that nothing is left" in said
    assert (tmp_path / "shards-privacy.png").is_file()
    (tmp_path / "shards.private").chmod(0o755)
    assert main(["inspect", "shards", "--privacy"]) == 1


def test_a_clip_that_cannot_be_decoded_is_shown_as_such(folders: Packed, tmp_path: Path) -> None:
    first = read_manifest(folders[0]).iloc[0]
    with (folders[0] / first["shard"]).open("r+b") as file:
        file.seek(first["offset"])
        file.write(bytes(first["size"]))
    assert privacy_sheet(folders[0], tmp_path / "sheet.png")[0] == (first["key"], 0)


def test_the_sheet_covers_devices_sites_and_sweeps(packed: Packed, tmp_path: Path) -> None:
    manifest = read_manifest(packed[0])
    wanted = manifest.groupby(["device", manifest["sweep"].fillna("")])["key"].first()
    sheet = tmp_path / "sheet.png"
    looked_at = privacy_sheet(packed[0], sheet, clips=len(wanted), tile_px=32)
    assert isinstance(wanted, pd.Series)
    assert {key for key, _ in looked_at} == set(wanted)
