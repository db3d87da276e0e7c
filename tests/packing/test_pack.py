from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fan_clips import FanClip, fan_clips, fan_frames, folder_bytes, read_table, row, write_video
from packed_cohort import quiet_packer

import bsou_dist.packing.encode_clip as encode_module
from bsou_dist.cohort.table import Cohort
from bsou_dist.common.errors import InputError
from bsou_dist.packing.pack import KEY_NAME, PackConfig
from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.prepare.prepare_clip import prepare
from bsou_dist.shards.codec import decode_frames
from bsou_dist.shards.manifest import SCHEMA, read_manifest, read_member, read_summary
from bsou_dist.shards.pseudonyms import Pseudonymizer, load_key
from bsou_dist.sources.read_clip import read_clip

TableAndRoot = tuple[pd.DataFrame, Path]
Packed = tuple[Path, Path]


def repack(
    cohort: TableAndRoot, packed: Packed, out: Path, config: PackConfig, workers: int = 0
) -> None:
    """Pack into `out` with the pseudonym key of `packed`."""
    private = out.with_name(f"{out.name}-private")
    private.mkdir(exist_ok=True)
    shutil.copy(packed[1] / KEY_NAME, private / KEY_NAME)
    quiet_packer(out, private, config, workers=workers).run(Cohort(*cohort))


def test_manifest_tells_what_the_shards_hold(
    cohort: TableAndRoot, packed: Packed, config: PackConfig
) -> None:
    table, root = cohort
    out, private = packed
    manifest = read_manifest(out)
    assert manifest.columns.tolist() == SCHEMA.names
    assert (
        manifest["shard"].tolist() == ["000000.tar"] * 4 + ["000001.tar"] * 4 + ["000002.tar"] * 2
    )
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"{number:06d}.{kind}" for number in range(3) for kind in ("idx", "tar")),
        "manifest.parquet",
        "shards.json",
    ]
    pseudonyms = Pseudonymizer(load_key(private / KEY_NAME))
    for (_, found), (_, source) in zip(manifest.iterrows(), table.iterrows(), strict=True):
        assert found["clip"] == pseudonyms.clip(source["path"])
        assert found["patient"] == pseudonyms.patient(source["patient_id"])
        assert re.fullmatch(rf"{pseudonyms.study(source['study_id'])}-(M|L|x)-\d", found["key"])
        record, data = read_member(out, found)
        wanted = prepare(read_clip(root / source["path"], 6), config.prepare)
        assert record["mm_per_px"] == found["mm_per_px"] == wanted.mm_per_px == 2.5
        decoded = decode_frames(data, record, range(6))
        assert np.abs(decoded.astype(int) - wanted.frames).mean() < 3
    assert manifest["sweep"].isna().sum() == 3
    assert manifest["key"].is_unique


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_bytes_do_not_depend_on_workers_or_on_when(
    cohort: TableAndRoot, packed: Packed, config: PackConfig, tmp_path: Path, workers: int
) -> None:
    repack(cohort, packed, tmp_path / "again", config, workers=workers)
    assert folder_bytes(tmp_path / "again") == folder_bytes(packed[0])


def test_h264_is_as_deterministic(
    cohort: TableAndRoot, packed: Packed, config: PackConfig, tmp_path: Path
) -> None:
    video = config.model_copy(update={"codec": "h264"})
    for name in ("one", "two"):
        repack(cohort, packed, tmp_path / name, video)
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")
    jpeg, h264 = read_manifest(packed[0]), read_manifest(tmp_path / "one")
    for place in (0, 9):
        record, data = read_member(tmp_path / "one", h264.loc[place])
        other, pictures = read_member(packed[0], jpeg.loc[place])
        difference = decode_frames(data, record, [5, 0]).astype(int) - decode_frames(
            pictures, other, [5, 0]
        )
        assert np.abs(difference).mean() < 6


KILLED = """
import os, signal, sys
import pandas as pd
from pathlib import Path
import bsou_dist.packing.encode_clip as module
from bsou_dist.cohort.table import Cohort
from bsou_dist.packing.pack import PackConfig, Packer

def shoot(*args, seen=[]):
    seen.append(args)
    if len(seen) == 7:  # in the middle of the second shard
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(*args)

prepare, module.prepare = module.prepare, shoot
table, root, out, private, config = sys.argv[1:]
config = PackConfig.model_validate_json(config)
packer = Packer(Path(out), private=Path(private), config=config, workers=0, progress=False)
packer.run(Cohort(pd.read_csv(table), Path(root)))
"""


def test_a_killed_packer_goes_on_and_ends_with_the_same_bytes(
    cohort: TableAndRoot,
    packed: Packed,
    config: PackConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, private = tmp_path / "out", tmp_path / "out-private"
    private.mkdir()
    shutil.copy(packed[1] / KEY_NAME, private / KEY_NAME)
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED,
            str(cohort[1] / "cohort.csv"),
            str(cohort[1]),
            str(out),
            str(private),
            config.model_dump_json(),
        ],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in out.glob("*.tar")] == ["000000.tar"]
    with pytest.raises(InputError, match="not finished"):
        read_manifest(out)

    prepared = []
    monkeypatch.setattr(
        encode_module, "prepare", lambda *args: prepared.append(args) or prepare(*args)
    )
    repack(cohort, packed, out, config)
    assert len(prepared) == 6  # the first shard's four clips are not done again
    assert folder_bytes(out) == folder_bytes(packed[0])


def test_an_interrupt_leaves_whole_shards_only(
    cohort: TableAndRoot,
    packed: Packed,
    config: PackConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = iter(range(100))

    def interrupted(*args: object) -> object:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return prepare(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(encode_module, "prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        repack(cohort, packed, tmp_path / "out", config)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".parts",
        "000000.idx",
        "000000.tar",
    ]
    repack(cohort, packed, tmp_path / "out", config)
    assert folder_bytes(tmp_path / "out") == folder_bytes(packed[0])


def test_a_finished_folder_is_left_as_it_is(
    cohort: TableAndRoot, packed: Packed, config: PackConfig
) -> None:
    out, private = packed
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    summary = quiet_packer(out, private, config).run(Cohort(*cohort))
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert (summary.clips, summary.shards, summary.frames) == (10, 3, 60)


@pytest.mark.parametrize("finished", [True, False])
def test_another_recipe_is_refused_and_named(
    cohort: TableAndRoot, packed: Packed, config: PackConfig, tmp_path: Path, finished: bool
) -> None:
    shutil.copytree(packed[0], tmp_path / "out")
    shutil.copytree(packed[1], tmp_path / "private")
    if not finished:  # as after a stop: records, and no shards.json
        recipe = read_summary(packed[0])["recipe"]
        (tmp_path / "out" / "shards.json").unlink()
        (tmp_path / "out" / ".parts").mkdir()
        (tmp_path / "out" / ".parts" / "begun.json").write_text(json.dumps(recipe))

    def attempt(table: pd.DataFrame, root: Path, config: PackConfig) -> None:
        quiet_packer(tmp_path / "out", tmp_path / "private", config).run(Cohort(table, root))

    with pytest.raises(InputError, match=r"config.codec was 'jpeg' and is now 'h264'"):
        attempt(*cohort, config.model_copy(update={"codec": "h264"}))
    smaller = config.prepare.model_copy(update={"size_px": 32})
    with pytest.raises(InputError, match=r"config.prepare.size_px was 48 and is now 32"):
        attempt(*cohort, config.model_copy(update={"prepare": smaller}))
    with pytest.raises(InputError, match="cohort was"):
        attempt(cohort[0].head(9), cohort[1], config)
    (tmp_path / "private" / KEY_NAME).write_text("00" * 32)
    with pytest.raises(InputError, match="pseudonym_key was"):
        attempt(*cohort, config)
    (tmp_path / "private" / KEY_NAME).unlink()
    with pytest.raises(
        InputError, match=r"pseudonym.key is missing; restore it, or .* with --private"
    ):
        attempt(*cohort, config)
    assert not (tmp_path / "private" / KEY_NAME).exists(), "no new key for old shards"


def test_bad_clips_become_rejects_with_reasons(tmp_path: Path, config: PackConfig) -> None:
    table = read_table(write_phantom(fan_clips(8), tmp_path))
    files = [tmp_path / path for path in table["path"]]
    files[0].write_bytes(b"")
    files[1].write_text("a letter, not a picture\n" * 50)
    write_video(tmp_path / "whole.mp4", fan_frames(2))
    files[2].write_bytes((tmp_path / "whole.mp4").read_bytes()[:-3000])
    files[3].unlink()
    write_phantom([FanClip(row(4), fan_frames(4)[:1])], tmp_path / "still")
    (tmp_path / "still" / "clips" / "000000.dcm").rename(files[4])
    summary = quiet_packer(tmp_path / "out", tmp_path / "private", config).run(
        Cohort(table, tmp_path)
    )
    assert summary.clips == 3
    assert summary.rejects == {"given up": 1, "still image": 1, "unreadable": 3}
    assert read_summary(tmp_path / "out")["counts"]["rejects"] == summary.rejects
    rejects = pd.read_csv(tmp_path / "private" / "rejects.csv")
    assert rejects["path"].tolist() == table["path"].tolist()[:5]
    expected = ("empty file", "neither DICOM", "truncated", "no such file", "one frame")
    for reason, words in zip(rejects["reason"], expected, strict=True):
        assert words in reason
    assert not (tmp_path / "out" / "rejects.csv").exists()
    assert (tmp_path / "out" / "000000.tar").exists() is False  # all four of its clips are rejects
    keymap = pd.read_parquet(tmp_path / "private" / "keymap.parquet")
    assert keymap["key"].isna().tolist() == [True] * 5 + [False] * 3
    assert keymap["key"].dropna().tolist() == read_manifest(tmp_path / "out")["key"].tolist()
    assert keymap["patient_id"].tolist() == table["patient_id"].tolist()


def test_links_out_of_the_cohort_are_rejected(tmp_path: Path, config: PackConfig) -> None:
    root = tmp_path / "cohort"
    table = read_table(write_phantom(fan_clips(4), root))
    first, second, *_ = (root / path for path in table["path"])
    elsewhere = first.rename(tmp_path / "of_someone_else.dcm")
    first.symlink_to(elsewhere)
    (second.parent / "moved.dcm").symlink_to(second.rename(root / "within.dcm"))
    (second.parent / "moved.dcm").rename(second)
    summary = quiet_packer(tmp_path / "out", tmp_path / "private", config).run(Cohort(table, root))
    assert summary.clips == 3
    rejects = pd.read_csv(tmp_path / "private" / "rejects.csv")
    assert rejects["path"].tolist() == [table["path"][0]]
    assert "leads out of the cohort's folder" in rejects["reason"][0]


def test_a_bug_in_preparation_costs_one_clip_and_tells_no_secret(
    cohort: TableAndRoot, config: PackConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    def broken(*args: object) -> object:
        if next(calls) == 1:
            raise IndexError("Musterfrau")
        return prepare(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(encode_module, "prepare", broken)
    quiet_packer(tmp_path / "out", tmp_path / "private", config).run(Cohort(*cohort))
    rejects = pd.read_csv(tmp_path / "private" / "rejects.csv")
    assert rejects["reason"].tolist() == ["unreadable: it cannot be prepared (IndexError)"]


def test_nothing_but_rejects_is_an_error_and_can_be_mended(
    tmp_path: Path, config: PackConfig
) -> None:
    table = read_table(write_phantom(fan_clips(3), tmp_path))
    for path in table["path"]:
        (tmp_path / path).rename(tmp_path / f"{path}.away")

    def attempt() -> None:
        quiet_packer(tmp_path / "out", tmp_path / "private", config).run(Cohort(table, tmp_path))

    with pytest.raises(
        InputError, match=r"none of the 3 clips could be packed \(3 given up\).*no such file"
    ):
        attempt()
    for path in table["path"]:
        (tmp_path / f"{path}.away").rename(tmp_path / path)
    attempt()
    assert len(read_manifest(tmp_path / "out")) == 3


def test_mistakes_are_named(cohort: TableAndRoot, config: PackConfig, tmp_path: Path) -> None:
    def attempt(table: pd.DataFrame, out: Path, private: Path) -> None:
        quiet_packer(out, private, config).run(Cohort(table, cohort[1]))

    table, out, private = cohort[0], tmp_path / "out", tmp_path / "private"
    with pytest.raises(InputError, match="lies inside the shard folder"):
        attempt(table, out, out / "private")
    with pytest.raises(InputError, match="no column study_id"):
        attempt(table.drop(columns="study_id"), out, private)
    with pytest.raises(InputError, match="more than once"):
        attempt(pd.concat([table, table.head(1)]), out, private)
    with pytest.raises(InputError, match="no rows"):
        attempt(table.head(0), out, private)
    out.mkdir()
    (out / "thesis.txt").touch()
    with pytest.raises(InputError, match="not empty"):
        attempt(table, out, tmp_path / "new")
    with pytest.raises(InputError, match=r"thesis.txt is a file; name a new folder"):
        attempt(table, out / "thesis.txt", tmp_path / "new")
    assert not (tmp_path / "new").exists(), "no key for a folder that cannot be packed into"


def test_clips_without_spacing_or_of_great_depth_are_counted(
    tmp_path: Path, config: PackConfig
) -> None:
    clips = [
        FanClip(row(number), fan_frames(number), mm_per_px=(1.2, 2.5, 1.2)[number])
        for number in range(3)
    ]
    table = read_table(write_phantom(clips, tmp_path, file_format="mp4"))
    table.loc[2, "mm_per_px"] = np.nan
    summary = quiet_packer(tmp_path / "out", tmp_path / "private", config).run(
        Cohort(table, tmp_path)
    )
    assert summary.clips_without_spacing == 1
    assert summary.notes == {"depth lost": 1}
    manifest = read_manifest(tmp_path / "out")
    assert manifest["mm_per_px"].isna().tolist() == [False, False, True]
    sources = manifest["scale_source"].fillna("none").tolist()
    assert sources == ["cohort table", "cohort table", "none"]
    assert manifest["notes"].isna().tolist() == [True, False, True]
    assert "1 depth lost" in str(summary)


@pytest.mark.parametrize("name", ["manifest", "version", "folder"])
def test_reading_says_what_is_missing(packed: Packed, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "shards"
    if name != "folder":
        shutil.copytree(packed[0], folder)
    if name == "manifest":
        (folder / "manifest.parquet").unlink()
    elif name == "version":
        text = (folder / "shards.json").read_text()
        (folder / "shards.json").write_text(
            text.replace('"format_version": 2', '"format_version": 99')
        )
    with pytest.raises(
        InputError,
        match={
            "manifest": "manifest.parquet is missing",
            "version": "format_version 99",
            "folder": "holds no shards",
        }[name],
    ):
        read_manifest(folder)
