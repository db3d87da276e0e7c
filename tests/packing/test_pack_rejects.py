"""Too many rejects stop a run; few, or early ones, do not."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from fan_clips import folder_bytes
from packed_cohort import quiet_packer

import bsou_dist.packing.encode_clip as encode_module
import bsou_dist.packing.progress as progress_module
import bsou_dist.packing.reject_limit as rejects_module
import bsou_dist.sources.read_clip as read_module
from bsou_dist.cohort.table import Cohort
from bsou_dist.packing.encode_clip import encode_clip
from bsou_dist.packing.folder import PackFailed
from bsou_dist.packing.pack import PackConfig
from bsou_dist.packing.plan import ALL_SHARDS, PlannedClip
from bsou_dist.packing.progress import PackProgress
from bsou_dist.packing.reject_limit import RejectCounts
from bsou_dist.prepare.prepare_clip import prepare
from bsou_dist.sources.raw_clip import UnreadableClip

TableAndRoot = tuple[pd.DataFrame, Path]


def judged(counts: RejectCounts, reasons: list[str | None]) -> int:
    """How many clips are let through."""
    for number, reason in enumerate(reasons):
        try:
            counts.add(
                PlannedClip(f"secret/{number}", number + 2, None, f"key-{number}", {}), reason
            )
        except PackFailed:
            return number
    return len(reasons)


STILL, GONE = "still image: one frame", "given up: no such file"


@pytest.mark.parametrize(
    ("max_rejects", "reasons", "through"),
    [
        (0.5, [STILL] * 99, 99),  # too few to judge
        (0.5, [STILL] * 200, 99),
        (0.5, [None, STILL] * 500, 1000),
        (0.5, [STILL] * 50 + [None] * 50 + [STILL], 100),
        (0.5, [STILL] * 60 + [None] * 60 + [STILL] * 5, 120),
        (0.5, [STILL] * 60 + [None] * 70 + [STILL] * 5, 135),
        (
            0.5,
            [None] * 50_000 + [GONE] * 2000,
            50_500,
        ),  # what goes wrong late does not hide behind what went well
        (0.0, [None] * 300 + [GONE], 300),
        (1.0, [STILL] * 2000, 2000),
    ],
)
def test_the_latest_clips_are_judged(
    max_rejects: float, reasons: list[str | None], through: int
) -> None:
    assert judged(RejectCounts(max_rejects), reasons) == through


def test_the_verdict_counts_reasons_and_gives_an_example_of_each() -> None:
    counts = RejectCounts(0.25)
    clips = [
        (
            PlannedClip(f"secret/{number}", number + 2, None, f"key-{number}", {}),
            {0: STILL, 1: GONE, 2: GONE}.get(number % 6),
        )
        for number in range(103)
    ]
    for clip, reason in clips[:-1]:
        counts.add(clip, reason)
    with pytest.raises(PackFailed) as raised:
        counts.add(*clips[-1])
    lines = str(raised.value).splitlines()
    assert (
        lines[0]
        == "52 of the last 103 clips were rejected, more than the share of 0.25 that is allowed"
    )
    assert lines[1] == "  34 given up, for example line 100 of the cohort: given up: no such file"
    assert lines[2].startswith("  18 still image, for example line ")
    assert "--max-rejects" in lines[3]
    assert "secret" not in str(raised.value)
    assert counts.by_reason == {"given up": 34, "still image": 18}


def test_a_burst_of_rejects_stops_packing_and_leaves_none_of_them_behind(
    cohort: TableAndRoot,
    packed: tuple[Path, Path],
    config: PackConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file server goes away in the midst of the run and comes back later."""
    monkeypatch.setattr(rejects_module, "_JUDGED_CLIPS", 8)
    root, private = tmp_path / "cohort", tmp_path / "private"
    shutil.copytree(cohort[1], root)
    shutil.copytree(packed[1], private)

    def attempt(max_rejects: float) -> None:
        packer = quiet_packer(tmp_path / "out", private, config, max_rejects=max_rejects)
        packer.run(Cohort(cohort[0], root))

    paths = away((cohort[0], root), slice(4, None))
    with pytest.raises(PackFailed, match="5 of the last 9 clips were rejected"):
        attempt(0.5)
    assert [
        path.name
        for path in (tmp_path / "out" / ".parts").glob("*.json")
        if path.name != "begun.json"
    ] == ["000000.json"], "the second shard is lost entirely, and shall be tried again"
    back(paths)
    attempt(0.5)
    assert folder_bytes(tmp_path / "out") == folder_bytes(packed[0])


def away(cohort: TableAndRoot, numbers: slice) -> list[Path]:
    """Take some clips away."""
    paths = [cohort[1] / path for path in cohort[0]["path"][numbers]]
    for path in paths:
        path.rename(path.with_suffix(".away"))
    return paths


def back(paths: list[Path]) -> None:
    for path in paths:
        path.with_suffix(".away").rename(path)


@pytest.fixture
def own(cohort: TableAndRoot, packed: tuple[Path, Path], tmp_path: Path) -> TableAndRoot:
    """The cohort, to be changed; the key of `packed` lies ready."""
    shutil.copytree(cohort[1], tmp_path / "cohort")
    (tmp_path / "private").mkdir()
    shutil.copy(packed[1] / "pseudonym.key", tmp_path / "private")
    return cohort[0], tmp_path / "cohort"


@pytest.mark.parametrize("lost", [slice(2, 8), slice(2, 4)])
def test_a_stopped_run_loses_no_clip_for_good(
    own: TableAndRoot,
    packed: tuple[Path, Path],
    config: PackConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lost: slice,
) -> None:
    """Two clips of the first shard, which is kept, are lost with the file server."""
    monkeypatch.setattr(rejects_module, "_JUDGED_CLIPS", 8)
    paths = away(own, lost)
    stop = away(own, slice(max(4, lost.stop), 10))
    with pytest.raises(PackFailed):
        quiet_packer(tmp_path / "out", tmp_path / "private", config).run(Cohort(*own))
    assert (tmp_path / "out" / ".parts" / "000000.json").is_file()
    back(paths + stop)
    summary = quiet_packer(tmp_path / "out", tmp_path / "private", config).run(Cohort(*own))
    assert summary.rejects == {}
    assert folder_bytes(tmp_path / "out") == folder_bytes(packed[0])


def test_a_short_outage_costs_no_clip(
    own: TableAndRoot,
    packed: tuple[Path, Path],
    config: PackConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths, prepared = away(own, slice(1, 3)), []

    def and_then_it_ends(*args: object) -> object:
        if len(prepared) == 5:
            back(paths)
        prepared.append(args)
        return prepare(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(encode_module, "prepare", and_then_it_ends)
    summary = quiet_packer(tmp_path / "out", tmp_path / "private", config).run(Cohort(*own))
    assert summary.rejects == {}
    assert folder_bytes(tmp_path / "out") == folder_bytes(packed[0])
    assert "2 clips were given up and are tried once more" in capsys.readouterr().err
    assert len(prepared) == 8 + 2 + 4, "all but two, those two, and their shard"


def test_what_stays_away_is_tried_twice_and_told(
    own: TableAndRoot, config: PackConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away(own, slice(1, 3))
    packer = quiet_packer(tmp_path / "out", tmp_path / "private", config)
    packer.make_plan(Cohort(*own))
    packer.begin()
    for expected in (True, False):
        packer.pack_share(ALL_SHARDS)
        assert ("tried once more" in capsys.readouterr().err) == expected
    summary = packer.finish()
    assert summary.rejects == {"given up": 2}
    assert "pack again into a new folder" in str(summary)


def test_a_file_that_goes_away_while_it_is_read_is_not_called_damaged(
    own: TableAndRoot, config: PackConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path, *args: object) -> None:
        path.unlink()
        raise UnreadableClip("incomplete or damaged")

    monkeypatch.setattr(read_module, "read_dicom", gone)
    assert encode_clip((own[1], own[0]["path"][0], None, None), config) == "given up: no such file"


def test_a_higher_limit_goes_on(
    cohort: TableAndRoot,
    config: PackConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rejects_module, "_JUDGED_CLIPS", 5)
    shutil.copytree(cohort[1], tmp_path / "cohort")
    for path in cohort[0]["path"][3:6]:
        (tmp_path / "cohort" / path).unlink()
    packer = quiet_packer(tmp_path / "out", tmp_path / "private", config)
    for max_rejects in (0.3, 0.5):
        packer.max_rejects = max_rejects
        try:
            summary = packer.run(Cohort(cohort[0], tmp_path / "cohort"))
        except PackFailed:
            assert max_rejects == 0.3
    assert (summary.clips, summary.rejects) == (7, {"given up": 3})


def test_without_a_terminal_lines_tell_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "QUIET_S", 0.0)
    with PackProgress(total=8, done=5, shown=True) as progress:
        progress.update(Counter())
        progress.update(Counter({"still image": 3, "unreadable": 4}))
    first, second, last = capsys.readouterr().err.splitlines()
    assert first.startswith("pack: 6 of 8 clips, ")
    assert first.endswith(" left, 0 rejected in this run")
    assert second.startswith("pack: 7 of 8 clips, ")
    assert second.endswith(" left, 7 rejected in this run: 4 unreadable, 3 still image")
    assert last.split(" clips/s")[0].startswith("pack: 7 of 8")
    with PackProgress(total=8, done=8, shown=True):
        pass
    with PackProgress(total=8, done=5, shown=False) as progress:
        progress.update(Counter())
    assert capsys.readouterr().err == ""
