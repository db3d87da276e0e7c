"""What is to be submitted: one run, or the steps of an experiment and what each of them waits
for.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bsou_dist.cluster.options import SlurmOptions
from bsou_dist.common.errors import InputError
from bsou_dist.common.settings import read_settings
from bsou_dist.experiment.config import RunConfig

TRAIN = "train"


@dataclass(frozen=True)
class Step:
    """A job, or with several commands an array of jobs that run at once."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    """Arguments of `bsou`."""
    options: SlurmOptions
    after: tuple[str, ...] = ()
    """Steps that must have ended well."""
    after_any: tuple[str, ...] = ()
    """Steps that must have ended, well or not."""
    choices: tuple[str, ...] = ()
    """What tells the commands of an array apart."""

    @property
    def titles(self) -> list[str]:
        """Of each command, for people."""
        return [f"{self.name} {choice}" for choice in self.choices] or [self.name]


@dataclass(frozen=True)
class Plan:
    """Steps, each after those it waits for."""

    steps: tuple[Step, ...]
    folder: Path
    """Logs lie in it."""


class _Job(BaseModel):
    model_config = ConfigDict(extra="forbid")

    bsou: str
    each: list[str] = []
    after: list[str] = []
    after_any: list[str] = []
    slurm: dict[str, Any] = {}

    @field_validator("each", "after", "after_any", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("bsou")
    @classmethod
    def _words(cls, bsou: str) -> str:
        try:
            words = shlex.split(bsou)
        except ValueError as error:
            raise ValueError(f"{bsou!r} is not a command: {error}") from None
        if not words or words == [TRAIN]:
            raise ValueError(
                f"{bsou!r} is not a command of bsou; write one such as: train configs/mtscon.yaml"
            )
        return bsou

    @model_validator(mode="after")
    def _placeholder(self) -> _Job:
        if bool(self.each) != ("{each}" in self.bsou):
            raise ValueError("'each' lists what stands for {each} in 'bsou': give both, or neither")
        return self


class _Experiment(BaseModel):
    model_config = ConfigDict(extra="forbid")

    output: Path = Path("runs")
    slurm: dict[str, Any] = {}
    jobs: dict[str, _Job] = Field(min_length=1)

    @model_validator(mode="after")
    def _order(self) -> _Experiment:
        earlier: list[str] = []
        for name, job in self.jobs.items():
            for other in [*job.after, *job.after_any]:
                if other not in earlier:
                    known = ", ".join(earlier) or "none"
                    raise ValueError(
                        f"{name} comes after {other!r}, which is no job above it (above it: "
                        f"{known})"
                    )
            earlier.append(name)
        return self


def is_experiment(path: Path) -> bool:
    """Whether a YAML file describes jobs, and not a run."""
    try:
        content = yaml.safe_load(path.read_text()) if path.is_file() else None
    except (yaml.YAMLError, UnicodeDecodeError):
        return False  # whoever reads it next says what is wrong with it
    return isinstance(content, dict) and "jobs" in content


def plan_run(config: Path, overrides: list[str], given: dict[str, Any]) -> Plan:
    """One run as a plan of one step; InputError if its config is at fault."""
    run = read_settings(RunConfig, config, overrides)
    command = (TRAIN, str(config), *overrides)
    return Plan((Step(run.name, (command,), read_options(given)),), run.folder / "slurm")


def plan_experiment(path: Path, given: dict[str, Any]) -> Plan:
    """The plan that a file of jobs describes; `given` replaces what its `slurm` section says for
    all jobs.

    Raises:
        InputError: a key or value at fault, or a job after one that does not stand above it.
    """
    file = read_settings(_Experiment, path, [])
    steps = []
    for name, job in file.jobs.items():
        texts = [job.bsou.replace("{each}", choice) for choice in job.each] or [job.bsou]
        commands = tuple(tuple(shlex.split(text)) for text in texts)
        slurm = {**file.slurm, **given, **job.slurm}
        if commands[0][0] != TRAIN:  # other commands know one process only, and few of them a GPU
            slurm |= {"nodes": 1, "gpus_per_node": 0, "tasks_per_node": None} | job.slurm
            options = read_options(slurm, f"{path}, job {name}")
            if options.tasks > 1:
                raise InputError(
                    f"{path}, job {name}: {options.tasks} tasks, but 'bsou {commands[0][0]}' is "
                    "one "
                    "process: leave nodes and tasks_per_node out"
                )
        else:
            options = read_options(slurm, f"{path}, job {name}")
        steps.append(
            Step(name, commands, options, tuple(job.after), tuple(job.after_any), tuple(job.each))
        )
    return Plan(tuple(steps), file.output / "slurm" / path.stem)


def read_options(given: dict[str, Any], where: str = "options") -> SlurmOptions:
    """Options of a job from names and values; InputError says what is wrong with them, and of what
    they are.
    """
    try:
        return read_settings(
            SlurmOptions, None, [f"{key}={json.dumps(value)}" for key, value in given.items()]
        )
    except InputError as error:
        raise InputError(str(error).replace("settings", where, 1)) from None
