from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from bsou_dist.common.errors import InputError
from bsou_dist.common.settings import describe_faults
from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.tasks.task_set import TaskSetConfig, load_tasks, ready_sets, table_groups

OWN = yaml.safe_load("""
set: p1
add:
  - {name: fhr_class, kind: classification, level: exam, label: fhr_class,
     classes: [low, normal, high]}
  - {name: efw_g, kind: regression, level: clip, label: efw_g, unit: g, needs_scale: true}
""")


def faults(block: dict) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        TaskSetConfig.model_validate(block)
    return describe_faults(TaskSetConfig, raised.value)


def test_the_papers_set_is_its_table_1() -> None:
    tasks = load_tasks("p1")
    assert list(tasks) == ["ga_bin", "ga", "presentation", "placenta", "sweep", "dvp", "multiple"]
    assert {name for name, task in tasks.items() if task.needs_scale} == {"ga_bin", "ga", "dvp"}
    assert {name for name, task in tasks.items() if task.level == "exam"} == {
        "presentation",
        "placenta",
    }
    assert tasks["sweep"].classes == SWEEPS
    assert table_groups(tasks[name] for name in tasks if name != "ga_bin") == {
        "In-domain tasks": ["ga", "presentation", "placenta", "sweep"],
        "Out-of-domain tasks": ["dvp", "multiple"],
    }


@pytest.mark.parametrize("name", ready_sets())
def test_every_ready_set_trains_on_tasks_that_it_has(name: str) -> None:
    config = TaskSetConfig(set=name)
    for stage in ("pretrain", "finetune"):
        assert set(config.stage_default(stage)) <= config.by_name.keys()
        assert config.stage_default(stage)


def test_tasks_are_added_to_a_set_and_overridden_in_it() -> None:
    config = TaskSetConfig.model_validate(
        OWN | {"override": {"ga_bin": {"classes": ["early", "late"], "bin_edges": [196]}}}
    )
    assert list(config.by_name)[-2:] == ["fhr_class", "efw_g"]
    assert config.by_name["efw_g"].group == "Other tasks"
    assert config.by_name["ga_bin"].encode(195.0) == 0
    assert config.by_name["ga_bin"].needs_scale, "what is not overridden stays"
    assert config.place("efw_g") == "tasks.add.1"
    assert config.place("ga_bin") == "tasks.override.ga_bin"


def test_a_dump_holds_every_task_in_full_and_reads_back() -> None:
    config = TaskSetConfig.model_validate(OWN)
    dump = config.model_dump(mode="json")
    assert dump["set"] is None
    again = TaskSetConfig.model_validate(yaml.safe_load(yaml.safe_dump(dump)))
    assert again.by_name == config.by_name


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"set": "p9"}, "'p9' is no set of tasks; known: acouslic, p1"),
        ({"add": [OWN["add"][0] | {"classes": ["low"]}]}, "add.0: classes: at least two classes"),
        ({"add": [OWN["add"][0] | {"classes": ["a", "a"]}]}, "all different"),
        ({"add": [OWN["add"][0] | {"classes": [True, False]}]}, "put the classes in quotes"),
        ({"add": [OWN["add"][0] | {"bin_edges": [2, 1]}]}, "add.0: bin_edges: bin edges must rise"),
        ({"add": [OWN["add"][0] | {"bin_edges": [1]}]}, "3 classes have 2 bin edges between them"),
        ({"add": [OWN["add"][0] | {"clases": 1}]}, "no such key; did you mean 'classes'?"),
        ({"add": [{**OWN["add"][1], "unit": ""}]}, "add.0: unit:"),
        (
            {"add": [{k: v for k, v in OWN["add"][1].items() if k != "unit"}]},
            "add.0: unit: this key is required (of the label, such as 'days' or 'cm')",
        ),
        ({"add": [OWN["add"][1] | {"name": "efw/g"}]}, "add.0: name:"),
        ({"add": [OWN["add"][1] | {"kind": "mask"}]}, "known kinds: classification, regression"),
        ({"add": [OWN["add"][1] | {"level": "frame"}]}, "add.0: level:"),
        ({"add": ["efw_g"]}, "a task is a mapping with name, kind and label, got 'efw_g'"),
        ({"add": [OWN["add"][1]] * 2}, "add.1.name: there is a task 'efw_g' already"),
        ({"add": [OWN["add"][1] | {"name": "ga"}]}, "already, from tasks.set 'p1'"),
        ({"override": {"gaa": {}}}, "override.gaa: the set has no such task; it has: ga_bin"),
        ({"override": {"ga": {"name": "age"}}}, "override.ga.name: a task of a set keeps its name"),
        ({"override": {"ga": {"units": "w"}}}, "override.ga: units: no such key"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(block: dict, message: str) -> None:
    [fault] = faults(block)
    assert message in fault


def test_tasks_of_a_file_or_a_run_are_loaded(tmp_path: Path) -> None:
    alone, run = tmp_path / "tasks.yaml", tmp_path / "run.yaml"
    alone.write_text(yaml.safe_dump(OWN))
    run.write_text(yaml.safe_dump({"name": "x", "tasks": OWN}))
    assert load_tasks(str(alone)) == load_tasks(str(run)) == TaskSetConfig(**OWN).by_name
    assert load_tasks(None) == load_tasks("p1")


def test_a_file_that_holds_no_tasks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a set of tasks"):
        load_tasks(str(tmp_path / "none.yaml"))
    wrong = tmp_path / "tasks.yaml"
    wrong.write_text("{tasks: {add: [{name: a, kind: regression, label: b}]}}")
    with pytest.raises(InputError, match=r"tasks.add.0: unit: this key is required"):
        load_tasks(str(wrong))
    wrong.write_text("{a: [")
    with pytest.raises(InputError, match="is not YAML"):
        load_tasks(str(wrong))


def test_groups_keep_their_order_and_their_tasks_theirs() -> None:
    tasks = load_tasks("p1")
    first = tasks["placenta"].model_copy(update={"order": -1})
    groups = table_groups([tasks["dvp"], tasks["ga"], tasks["sweep"], first])
    assert groups == {
        "Out-of-domain tasks": ["dvp"],
        "In-domain tasks": ["placenta", "ga", "sweep"],
    }
