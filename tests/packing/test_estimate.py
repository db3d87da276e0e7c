"""What packing will take is told beforehand, from a few clips, of which nothing is kept."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from fan_clips import fan_clips, read_table
from packed_cohort import quiet_packer

import bsou_dist.packing.estimate as estimate_module
from bsou_dist.cohort.table import Cohort
from bsou_dist.common.errors import InputError
from bsou_dist.packing.estimate import Estimate, Range, _choose, check_disk
from bsou_dist.packing.pack import PackConfig, Packer
from bsou_dist.packing.plan import ALL_SHARDS, Share
from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.shards.manifest import read_manifest


@pytest.fixture
def packer(config: PackConfig, tmp_path: Path) -> Packer:
    """60 clips that are planned, of which every tenth is gone."""
    table = read_table(write_phantom(fan_clips(60), tmp_path / "cohort", file_format="npz"))
    for path in table["path"][::10]:
        (tmp_path / "cohort" / path).unlink()
    packer = quiet_packer(tmp_path / "out", tmp_path / "private", config)
    packer.make_plan(Cohort(table, tmp_path / "cohort"))
    return packer


def test_an_estimate_is_near_and_keeps_nothing(packer: Packer) -> None:
    packer.workers = 2
    estimated = packer.estimate()
    assert estimated is not None
    assert (estimated.clips, estimated.tried, estimated.processes) == (60, 20, 2)
    assert 0 <= estimated.rejects["given up"] <= 6
    assert 0 < estimated.seconds.low < estimated.seconds.high
    assert not packer.folder.path.exists()
    packer.begin()
    packer.workers = 0
    packer.pack_share(ALL_SHARDS)
    packer.finish()
    written = sum(path.stat().st_size for path in packer.folder.path.iterdir())
    assert 0.8 * written < estimated.bytes.high
    assert estimated.bytes.low < 1.2 * written
    assert len(read_manifest(packer.folder.path)) == 54


@pytest.mark.parametrize(("workers", "jobs", "processes"), [(2, 64, 30), (100, 1, 60)])
def test_no_more_processes_count_than_there_are_shards_and_clips_for(
    packer: Packer, workers: int, jobs: int, processes: int
) -> None:
    packer.workers = workers
    estimated = packer.estimate(jobs=jobs)
    assert estimated is not None
    assert estimated.processes == processes


def test_only_what_is_left_counts(packer: Packer) -> None:
    packer.begin()
    packer.pack_share(Share(1, 2))
    estimated = packer.estimate()
    assert estimated is not None
    assert estimated.clips == 28
    assert packer.estimate(at_least=29) is None


def test_clips_of_every_size_from_all_over_are_tried(packer: Packer) -> None:
    files = [packer.plan.root / clip.path for clip in packer.plan.clips(range(60))]
    for number, path in enumerate(files):
        path.write_bytes(bytes(100 + number % 20))
    chosen = [root / path for root, path, *_ in _choose(packer.plan, list(range(60)))]
    assert len(set(chosen)) == 20
    assert {path.stat().st_size for path in chosen} == set(range(100, 120))
    assert chosen == [root / path for root, path, *_ in _choose(packer.plan, list(range(60)))]
    assert len(_choose(packer.plan, [3, 7, 9])) == 3


def test_too_little_room_is_refused_only_where_it_is_clear(tmp_path: Path) -> None:
    def needing(low: float, high: float) -> Estimate:
        return Estimate(
            1000, 20, 4, Range(90.0, 110.0), Range(low, high), 5_000_000_000, {"still image": 2}
        )

    check_disk(needing(4.9e9, 9e9), tmp_path)
    with pytest.raises(InputError, match=r"need 5\.1 GB at least, and 5 GB are free"):
        check_disk(needing(5.1e9, 9e9), tmp_path)
    text = str(needing(4.9e9, 9e9))
    assert "1000 clips, from 20" in text
    assert "0:01:30 to 0:01:50 (hours:minutes:seconds) with 4 processes" in text
    assert "4.9 to 9 GB, of 5 GB that are free" in text
    assert "2 of the 20 (2 still image)" in text


def test_a_range_holds_the_mean_and_narrows_with_more_of_the_sample() -> None:
    few, many = Range.of_mean([1.0, 3.0] * 5), Range.of_mean([1.0, 3.0] * 500)
    assert few.low < many.low < 2.0 < many.high < few.high
    assert Range.of_mean([4.0]) == Range(2.0, 6.0)
    assert Range(1.0, 2.0).times(3) == Range(3.0, 6.0)


def test_free_room_is_that_of_the_folder_above_where_there_is_none_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    usage = estimate_module.shutil.disk_usage
    monkeypatch.setattr(
        estimate_module.shutil, "disk_usage", lambda path: asked.append(path) or usage(path)
    )
    assert estimate_module._free_bytes(tmp_path / "new" / "deep") > 0
    assert asked == [tmp_path]


def test_a_table_of_nothing_but_rejects_can_be_estimated(
    config: PackConfig, tmp_path: Path
) -> None:
    table = pd.DataFrame(
        [
            {"patient_id": "p", "study_id": "s", "exam_id": "e", "path": f"{number}.dcm"}
            for number in range(3)
        ]
    )
    packer = quiet_packer(tmp_path / "out", tmp_path / "private", config)
    packer.make_plan(Cohort(table, tmp_path))
    estimated = packer.estimate()
    assert estimated is not None
    assert estimated.rejects == {"given up": 3}
    assert estimated.bytes == Range(0.0, 0.0)
