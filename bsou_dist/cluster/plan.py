"""What is to be submitted: one run, or an experiment's steps and what each of them waits for."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from bsou_dist.cluster.options import SlurmOptions
from bsou_dist.common.bounded_yaml import read_yaml_file
from bsou_dist.common.errors import InputError
from bsou_dist.common.settings import read_settings
from bsou_dist.common.strict_config import StrictConfig

TRAIN = "train"

ONE_PROCESS = {"nodes": 1, "gpus_per_node": 0, "tasks_per_node": None}
"""Options of a job of any other command: those know one process only, and few of them a GPU."""


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
    """What tells the commands of an array apart; empty for a single command."""

    @property
    def titles(self) -> list[str]:
        """The name of each command, for people."""
        if not self.choices:
            return [self.name]
        return [f"{self.name} {choice}" for choice in self.choices]


@dataclass(frozen=True)
class Plan:
    """Steps, each after those it waits for."""

    steps: tuple[Step, ...]
    folder: Path
    """Logs lie in it."""


class _Job(StrictConfig):
    """A step as a file of jobs describes it."""

    bsou: str
    """The command, as in a shell; '{each}' in it stands for one of `each`."""
    each: list[str] = []
    after: list[str] = []
    after_any: list[str] = []
    slurm: dict[str, Any] = {}
    """Names and values of `SlurmOptions`, which win over all others."""

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


class _Experiment(StrictConfig):
    """A file of jobs."""

    output: Path = Path("runs")
    slurm: dict[str, Any] = {}
    jobs: dict[str, _Job] = Field(min_length=1)

    @model_validator(mode="after")
    def _order(self) -> _Experiment:
        above: list[str] = []
        for name, job in self.jobs.items():
            for other in [*job.after, *job.after_any]:
                if other not in above:
                    known = ", ".join(above) or "none"
                    raise ValueError(
                        f"{name} comes after {other!r}, which is no job above it "
                        f"(above it: {known})"
                    )
            above.append(name)
        return self


def is_experiment(path: Path) -> bool:
    """Whether a YAML file describes jobs, and not a run."""
    try:
        content = read_yaml_file(path, "config")
    except InputError:
        return False  # whoever reads it next says what is wrong with it
    return isinstance(content, dict) and "jobs" in content


def plan_run(config: Path, overrides: list[str], given: dict[str, Any]) -> Plan:
    """Make a plan of one step for one run; `given` are options of its job.

    Raises:
        InputError: the config or an option is at fault.
    """
    # Here, because it brings torch along, which the other plans do without.
    from bsou_dist.experiment.config import RunConfig

    run = read_settings(RunConfig, config, overrides)
    command = (TRAIN, str(config), *overrides)
    step = Step(run.name, (command,), read_options(given))
    return Plan((step,), run.folder / "slurm")


def plan_experiment(path: Path, given: dict[str, Any]) -> Plan:
    """Make the plan that a file of jobs describes.

    The file's own `slurm` section gives way to `given`, and that to the `slurm` of a job.

    Raises:
        InputError: a key or value at fault, or a job after one that does not stand above it.
    """
    experiment = read_settings(_Experiment, path, [])
    steps = []
    for name, job in experiment.jobs.items():
        texts = [job.bsou.replace("{each}", choice) for choice in job.each] or [job.bsou]
        commands = tuple(tuple(shlex.split(text)) for text in texts)
        verb = commands[0][0]
        is_training = verb == TRAIN
        unasked = {} if is_training else ONE_PROCESS
        slurm = experiment.slurm | given | unasked | job.slurm
        options = read_options(slurm, f"{path}, job {name}")
        if options.tasks > 1 and not is_training:
            raise InputError(
                f"{path}, job {name}: {options.tasks} tasks, but 'bsou {verb}' is one process: "
                "leave nodes and tasks_per_node out"
            )
        step = Step(
            name,
            commands,
            options,
            after=tuple(job.after),
            after_any=tuple(job.after_any),
            choices=tuple(job.each),
        )
        steps.append(step)
    return Plan(tuple(steps), experiment.output / "slurm" / path.stem)


def read_options(given: dict[str, Any], where: str = "options") -> SlurmOptions:
    """Check options of a job, given by name.

    Raises:
        InputError: what is wrong with them, and `where` they stand.
    """
    overrides = [f"{name}={json.dumps(value)}" for name, value in given.items()]
    try:
        return read_settings(SlurmOptions, None, overrides)
    except InputError as error:
        raise InputError(str(error).replace("settings", where, 1)) from None
