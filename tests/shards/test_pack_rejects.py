"""Too many rejects stop a run; few, or early ones, do not."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from fan_clips import folder_bytes

import bsou_dist.shards.progress as progress_module
import bsou_dist.shards.rejects as rejects_module
from bsou_dist.shards.folder import PackFailed
from bsou_dist.shards.pack import PackConfig, pack
from bsou_dist.shards.plan import PlannedClip
from bsou_dist.shards.progress import PackProgress
from bsou_dist.shards.rejects import RejectCounts


def judged(counts: RejectCounts, reasons: list[str | None]) -> int:
    """How many clips are let through."""
    for number, reason in enumerate(reasons):
        try:
            counts.add(PlannedClip(f"secret/{number}", number + 2, None, f"key-{number}", {}), reason)
        except PackFailed:
            return number
    return len(reasons)


STILL, GONE = "still image: one frame", "unreadable: no such file"


@pytest.mark.parametrize(("max_rejects", "reasons", "through"), [
    (0.5, [STILL] * 99, 99),  # too few to judge
    (0.5, [STILL] * 200, 99),
    (0.5, [None, STILL] * 500, 1000),
    (0.5, [STILL] * 50 + [None] * 50 + [STILL], 100),
    (0.5, [STILL] * 60 + [None] * 60 + [STILL] * 5, 120),
    (0.5, [STILL] * 60 + [None] * 70 + [STILL] * 5, 135),
    (0.5, [None] * 50_000 + [GONE] * 2000, 50_500),  # what goes wrong late does not hide behind what went well
    (0.0, [None] * 300 + [GONE], 300),
    (1.0, [STILL] * 2000, 2000),
])
def test_the_latest_clips_are_judged(max_rejects: float, reasons: list[str | None], through: int) -> None:
    assert judged(RejectCounts(max_rejects), reasons) == through


def test_the_verdict_counts_reasons_and_gives_an_example_of_each() -> None:
    counts = RejectCounts(0.25)
    clips = [(PlannedClip(f"secret/{number}", number + 2, None, f"key-{number}", {}),
              {0: STILL, 1: GONE, 2: GONE}.get(number % 6)) for number in range(103)]
    for clip, reason in clips[:-1]:
        counts.add(clip, reason)
    with pytest.raises(PackFailed) as raised:
        counts.add(*clips[-1])
    lines = str(raised.value).splitlines()
    assert lines[0] == "52 of the last 103 clips were rejected, more than the share of 0.25 that is allowed"
    assert lines[1] == "  34 unreadable, for example line 100 of the cohort: unreadable: no such file"
    assert lines[2].startswith("  18 still image, for example line ")
    assert "--max-rejects" in lines[3]
    assert "secret" not in str(raised.value)
    assert counts.by_reason == {"unreadable": 34, "still image": 18}


def test_a_burst_of_rejects_stops_packing_and_leaves_none_of_them_behind(
    cohort: tuple[pd.DataFrame, Path], packed: tuple[Path, Path], config: PackConfig, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server goes away in the midst of the run and comes back later."""
    monkeypatch.setattr(rejects_module, "_JUDGED_CLIPS", 8)
    root, private = tmp_path / "cohort", tmp_path / "private"
    shutil.copytree(cohort[1], root)
    shutil.copytree(packed[1], private)

    def attempt(max_rejects: float) -> None:
        pack(cohort[0], root, tmp_path / "out", config=config, private=private, workers=0, max_rejects=max_rejects,
             progress=False)

    away = [root / path for path in cohort[0]["path"][4:]]
    for path in away:
        path.rename(path.with_suffix(".away"))
    with pytest.raises(PackFailed, match="5 of the last 9 clips were rejected"):
        attempt(0.5)
    assert [path.name for path in (tmp_path / "out" / ".parts").glob("*.json") if path.name != "begun.json"] == [
        "000000.json"], "the second shard is lost entirely, and shall be tried again"
    for path in away:
        path.with_suffix(".away").rename(path)
    attempt(0.5)
    assert folder_bytes(tmp_path / "out") == folder_bytes(packed[0])


def test_a_higher_limit_goes_on(cohort: tuple[pd.DataFrame, Path], config: PackConfig, tmp_path: Path,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects_module, "_JUDGED_CLIPS", 5)
    shutil.copytree(cohort[1], tmp_path / "cohort")
    for path in cohort[0]["path"][3:6]:
        (tmp_path / "cohort" / path).unlink()
    for max_rejects in (0.3, 0.5):
        try:
            summary = pack(cohort[0], tmp_path / "cohort", tmp_path / "out", config=config, workers=0,
                           private=tmp_path / "private", max_rejects=max_rejects, progress=False)
        except PackFailed:
            assert max_rejects == 0.3
    assert (summary.clips, summary.rejects) == (7, {"unreadable": 3})


def test_without_a_terminal_lines_tell_how_far_it_is(monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress_module, "QUIET_S", 0.0)
    with PackProgress(total=8, done=5, shown=True) as progress:
        progress.update(Counter())
        progress.update(Counter({"still image": 3, "unreadable": 4}))
    first, second, last = capsys.readouterr().err.splitlines()
    assert first.startswith("pack: 6 of 8 clips, ")
    assert first.endswith(" left, 0 rejected")
    assert second.startswith("pack: 7 of 8 clips, ")
    assert second.endswith(" left, 7 rejected: 4 unreadable, 3 still image")
    assert last.split(" clips/s")[0].startswith("pack: 7 of 8")
    with PackProgress(total=8, done=8, shown=True):
        pass
    with PackProgress(total=8, done=5, shown=False) as progress:
        progress.update(Counter())
    assert capsys.readouterr().err == ""
