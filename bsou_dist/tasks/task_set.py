"""The tasks of a run: a ready set, with tasks added to it or changed in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    PrivateAttr,
    ValidationError,
    model_serializer,
    model_validator,
)

from bsou_dist.common.bounded_yaml import read_yaml_file
from bsou_dist.common.errors import InputError
from bsou_dist.common.settings import describe_faults
from bsou_dist.tasks.kinds.make import AnyTask, make_task
from bsou_dist.tasks.task import Task

_SETS = files("bsou_dist.tasks").joinpath("sets")


@dataclass(frozen=True)
class ReadySet:
    """A set of tasks that ships with the package, and which of them the stages train on."""

    tasks: tuple[Task, ...]
    pretrain: tuple[str, ...]
    finetune: tuple[str, ...]


def ready_sets() -> list[str]:
    """Names of the sets that ship with the package."""
    names = [Path(entry.name) for entry in _SETS.iterdir()]
    return sorted(name.stem for name in names if name.suffix == ".yaml")


def load_ready_set(name: str) -> ReadySet:
    """Load a set that ships with the package.

    Raises:
        ValueError: there is no such set; the message lists those there are.
    """
    if name not in ready_sets():
        raise ValueError(f"{name!r} is no set of tasks; known: {', '.join(ready_sets())}")
    content = yaml.safe_load(_SETS.joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
    return ReadySet(
        tasks=tuple(make_task(block) for block in content["tasks"]),
        pretrain=tuple(content["pretrain"]),
        finetune=tuple(content["finetune"]),
    )


class TaskSetConfig(BaseModel):
    """Tasks that a run knows: those of a ready set, some of them changed, and tasks of its own.

    A dump holds every task in full under `add`, so that a run's record does not depend on the sets
    of a later version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    set: str | None = "p1"
    """Name of a ready set; None for no tasks but those under `add`."""
    add: tuple[AnyTask, ...] = ()
    """Tasks beside those of the set."""
    override: dict[str, dict[str, Any]] = {}
    """Fields that tasks of the set get instead of their own, by the task's name."""

    _by_name: dict[str, Task] = PrivateAttr(default_factory=dict)
    _places: dict[str, str] = PrivateAttr(default_factory=dict)
    _stages: dict[str, tuple[str, ...]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _gather(self) -> TaskSetConfig:
        ready = ReadySet((), (), ()) if self.set is None else load_ready_set(self.set)
        self._stages.update(pretrain=ready.pretrain, finetune=ready.finetune)
        for task in ready.tasks:
            self._by_name[task.name] = task
            self._places[task.name] = f"tasks.set {self.set!r}"
        for name, fields in self.override.items():
            if name not in self._by_name:
                known = ", ".join(self._by_name) or "none"
                raise ValueError(f"override.{name}: the set has no such task; it has: {known}")
            self._by_name[name] = _overridden(self._by_name[name], fields)
            self._places[name] = f"tasks.override.{name}"
        for position, task in enumerate(self.add):
            place = f"tasks.add.{position}"
            if task.name in self._by_name:
                raise ValueError(
                    f"add.{position}.name: there is a task {task.name!r} already, from "
                    f"{self._places[task.name]}; give this one another name, or change that one "
                    f"under 'override'"
                )
            self._by_name[task.name] = task
            self._places[task.name] = place
        return self

    @model_serializer
    def _in_full(self) -> dict[str, Any]:
        tasks = [task.model_dump(mode="json") for task in self._by_name.values()]
        return {"set": None, "add": tasks, "override": {}}

    @property
    def by_name(self) -> dict[str, Task]:
        """Every task of the run by its name, in the order of the set and then of `add`."""
        return dict(self._by_name)

    def place(self, name: str) -> str:
        """Where in the YAML a task comes from, for messages."""
        return self._places[name]

    def stage_default(self, stage: str) -> list[str]:
        """Tasks that the set trains on in stage 'pretrain' or 'finetune' unless told otherwise."""
        return list(self._stages[stage])


def _overridden(task: Task, fields: dict[str, Any]) -> Task:
    if "name" in fields:
        raise ValueError(
            f"override.{task.name}.name: a task of a set keeps its name; add a task instead"
        )
    own = task.model_dump(exclude_unset=True)
    try:
        return make_task({**own, "kind": task.kind, **fields})
    except ValueError as error:
        raise ValueError(f"override.{task.name}: {error}") from None


def load_tasks(name: str | None) -> dict[str, Task]:
    """Load the tasks of a ready set, or of a YAML file: a run's config, or a `tasks` section alone.

    Args:
        name: a set's name or a path; None is the default set.

    Raises:
        InputError: neither a set nor such a file.
    """
    if name is None:
        return TaskSetConfig().by_name
    if name in ready_sets():
        return TaskSetConfig(set=name).by_name
    path = Path(name)
    if not path.is_file():
        raise InputError(
            f"{name!r} is neither a set of tasks ({', '.join(ready_sets())}) nor a YAML file that "
            "is there"
        )
    content = read_yaml_file(path, "file of tasks")
    section = content.get("tasks", content) if isinstance(content, dict) else content
    try:
        return TaskSetConfig.model_validate(section).by_name
    except ValidationError as error:
        faults = "; ".join(f"tasks.{fault}" for fault in describe_faults(TaskSetConfig, error))
        raise InputError(f"{path}: {faults}") from None


def table_groups(tasks: Iterable[Task]) -> dict[str, Sequence[str]]:
    """Headings of a table with the names of the tasks under each, in the order of their columns."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.group, []).append(task)
    return {
        heading: [task.name for task in sorted(members, key=lambda task: task.order)]
        for heading, members in groups.items()
    }
