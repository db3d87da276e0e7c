"""What a job asks of SLURM, checked before anything is submitted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from bsou_dist.common.strict_config import StrictConfig

DEFAULT_ENVIRONMENT = {
    "NCCL_DEBUG": "WARN",
    "NCCL_IB_TIMEOUT": "22",
}
"""Set in every job where neither the submitting environment nor `env` says otherwise.

docs/slurm.md tells why.
"""

OWNED = {
    "array",
    "chdir",
    "dependency",
    "error",
    "kill-on-invalid-dep",
    "ntasks",
    "ntasks-per-node",
    "open-mode",
    "output",
    "requeue",
    "no-requeue",
    "signal",
}
"""Options of sbatch that jobs could not do without or that would break them."""

PLAIN = re.compile(r"[^\s'\"\\`$]+")
"""What SLURM's own names are made of; an #SBATCH line knows no escapes."""

TIME = re.compile(r"\d+(:\d{1,2}){0,2}|\d+-\d{1,2}(:\d{1,2}){0,2}")
MEMORY = re.compile(r"\d+[KMGT]?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SBATCH_OPTION = re.compile(r"[a-z][a-z-]*")


class SlurmOptions(StrictConfig):
    """Resources of a job and how its processes are started.

    None leaves a matter to the cluster's defaults.
    """

    nodes: int = Field(1, ge=1, description="nodes of the job")
    gpus_per_node: int = Field(
        1, ge=0, description="GPUs on each node, one task for each; 0: tasks on CPUs"
    )
    tasks_per_node: int | None = Field(
        None, ge=1, description="with --gpus-per-node 0: tasks on each node (default 1)"
    )
    cpus_per_task: int = Field(4, ge=1, description="CPU cores for each task")
    mem: str | None = Field(None, description="memory on each node, such as 64G")
    time: str | None = Field(
        None, description="time limit: minutes, or SLURM's hours:minutes:seconds, days-hours"
    )
    partition: str | None = Field(None, description="partition to submit to")
    account: str | None = Field(None, description="account to charge")
    qos: str | None = Field(None, description="quality of service")
    constraint: str | None = Field(None, description="features that nodes must have")
    exclusive: bool = Field(False, description="share the nodes with no other job")
    job_name: str | None = Field(None, description="name in the queue (default: that of the run)")
    container: str | None = Field(
        None,
        description="run in a container: an Apptainer image (.sif), or for enroot "
        "with pyxis an image file (.sqsh) or name",
    )
    bind: list[Path] = Field(
        [], description="folder that the container sees besides the current one and the output"
    )
    env: dict[str, str] = Field({}, description="environment variable of the tasks")
    sbatch: dict[str, str] = Field(
        {}, description="any other option of sbatch, such as reservation=NAME"
    )
    signal_lead_s: int = Field(
        120,
        ge=10,
        le=65535,
        description="seconds before the time limit at which the run is told to save",
    )
    max_restarts: int = Field(100, ge=0, description="how often the job may go back into the queue")
    max_failures: int = Field(
        3,
        ge=0,
        description="how many failures the job goes on after, each with a new checkpoint behind it",
    )

    @field_validator("time", mode="before")
    @classmethod
    def _time(cls, time: Any) -> Any:
        if time is None or (isinstance(time, str) and TIME.fullmatch(time)):
            return time
        raise ValueError(
            f"{time!r} is not a time limit: give minutes as '90', or '24:00:00', or '2-12' for "
            "two "
            "days and a half; in quotes in a file (YAML takes a bare 24:00:00 for one number)"
        )

    @field_validator("mem")
    @classmethod
    def _memory(cls, mem: str | None) -> str | None:
        if mem is not None and not MEMORY.fullmatch(mem):
            raise ValueError(
                f"{mem!r} is not an amount of memory: write a whole number and K, M, G or T, "
                "such as 64G"
            )
        return mem

    @field_validator("partition", "account", "qos", "constraint", "job_name")
    @classmethod
    def _plain(cls, name: str | None) -> str | None:
        if name is not None and not PLAIN.fullmatch(name):
            raise ValueError(
                f"{name!r} is not a name that SLURM takes: no blanks, quotes, $ or backslashes"
            )
        return name

    @field_validator("bind")
    @classmethod
    def _folders(cls, bind: list[Path]) -> list[Path]:
        for path in bind:
            if set(str(path)) & {":", ","}:
                raise ValueError(
                    f"{str(path)!r} has a ':' or ',', which containers take for their own; bind a "
                    "link to it"
                )
        return bind

    @field_validator("env")
    @classmethod
    def _variables(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            if not VARIABLE.fullmatch(name):
                raise ValueError(
                    f"{name!r} is not the name of an environment variable; write NAME=VALUE"
                )
        return env

    @field_validator("sbatch")
    @classmethod
    def _free(cls, sbatch: dict[str, str]) -> dict[str, str]:
        own_options = {name.replace("_", "-") for name in cls.model_fields}
        for name, value in sbatch.items():
            if name in own_options | OWNED:
                raise ValueError(f"{name!r} is set by this launcher; use its own options")
            if not SBATCH_OPTION.fullmatch(name) or not PLAIN.fullmatch(value):
                raise ValueError(
                    f"{name}={value!r} is not an option of sbatch; write it like reservation=NAME"
                )
        return sbatch

    @model_validator(mode="after")
    def _one_task_per_gpu(self) -> SlurmOptions:
        if self.gpus_per_node and self.tasks_per_node not in (None, self.gpus_per_node):
            raise ValueError(
                f"tasks_per_node is {self.tasks_per_node} and gpus_per_node {self.gpus_per_node}, "
                "but each GPU gets one task: leave tasks_per_node out, or set gpus_per_node to 0"
            )
        return self

    @model_validator(mode="after")
    def _time_to_save(self) -> SlurmOptions:
        if self.time is not None and _seconds(self.time) <= self.signal_lead_s:
            raise ValueError(
                f"time is {self.time!r} and signal_lead_s {self.signal_lead_s}: the run would "
                "be told to save as soon as it has started; give it more time, or a shorter "
                "signal_lead_s"
            )
        return self

    @property
    def tasks_on_node(self) -> int:
        """Processes of a node."""
        return self.gpus_per_node or self.tasks_per_node or 1

    @property
    def tasks(self) -> int:
        """Processes of the job."""
        return self.nodes * self.tasks_on_node


def _seconds(time: str) -> int:
    """Read a time limit as SLURM does, in seconds.

    It is minutes[:seconds], hours:minutes:seconds or days-hours[:minutes[:seconds]].
    """
    days, dash, clock = time.rpartition("-")
    numbers = [int(number) for number in clock.split(":")]
    if not dash and len(numbers) < 3:  # it begins with minutes: no hours
        numbers = [0, *numbers]
    hours, minutes, seconds = [*numbers, 0, 0][:3]
    return int(days or 0) * 86_400 + hours * 3600 + minutes * 60 + seconds
