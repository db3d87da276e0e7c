from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from p1_tasks import TASKS

from bsou_dist.common.errors import InputError
from bsou_dist.experiment.record import DataRecord, data_record, read_run


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """The records that a run of the version before tasks were data has left."""
    content = {
        "name": "old",
        "data": {"shards": "shards", "cohort": "cohort.csv"},
        "pretrain": {"method": "mtce", "tasks": ["ga_bin", "placenta"]},
        "finetune": {"tasks": ["ga"]},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "data.json").write_text(json.dumps({"fingerprint": "abc"}))
    return tmp_path


def test_an_old_run_has_the_tasks_that_there_were(old_run: Path) -> None:
    config = read_run(old_run)
    assert config.tasks.by_name == TASKS
    assert list(config.used_tasks) == ["ga_bin", "ga", "placenta"]
    assert data_record(old_run) == DataRecord("abc", {})


def test_a_dump_of_a_config_reads_back_whatever_the_sets_hold(old_run: Path) -> None:
    config = read_run(old_run)
    dump = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (old_run / "run.yaml").write_text(dump)
    assert yaml.safe_load(dump)["tasks"]["set"] is None
    assert read_run(old_run).described() == config.described()


def test_a_config_of_another_version_is_refused(old_run: Path) -> None:
    (old_run / "run.yaml").write_text("{name: old, data: {}, patience: 3}")
    with pytest.raises(InputError, match="is not the config of a run of this version"):
        read_run(old_run)


def test_data_agree_where_both_know_a_label_column() -> None:
    plain = DataRecord("abc", {})
    weights = DataRecord("abc", {"efw_g": "1"})
    assert plain.agrees_with(weights)
    assert weights.agrees_with(plain)
    assert weights.agrees_with(DataRecord("abc", {"efw_g": "1", "fhr_class": "2"}))
    assert not weights.agrees_with(DataRecord("abc", {"efw_g": "2"}))
    assert not weights.agrees_with(DataRecord("abd", {"efw_g": "1"}))
