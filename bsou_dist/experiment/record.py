"""What a run leaves on record in its folder: config, data, finished stages.

And the stage 1 that its stage 2 starts from, which may be that of another run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bsou_dist.common.bounded_yaml import read_yaml_file
from bsou_dist.common.errors import InputError
from bsou_dist.experiment.config import PretrainConfig, RunConfig
from bsou_dist.experiment.methods import METHODS, encoder_for, stage1_encoders
from bsou_dist.tasks.task import Task

CONFIG_NAME, DATA_NAME, DONE = "run.yaml", "data.json", "stage.json"

SUPERVISED = "Supervised"
"""Title of a run without stage 1, which is plain supervised training."""


@dataclass(frozen=True)
class Stage1Run:
    """A stage 1 and the folder of the run that made it."""

    folder: Path
    pretrain: PretrainConfig
    tasks: Mapping[str, Task]
    """The tasks of that run, by name."""

    @property
    def title(self) -> str:
        """Name of the method as tables show it."""
        return METHODS[self.pretrain.method].title

    def encoder_for(self, task: Task) -> str | None:
        """Name the encoder that stage 2 of a task starts from; None where there is none."""
        return encoder_for(self.pretrain, self.tasks, task)


def stage1_of(config: RunConfig) -> Stage1Run | None:
    """Find the run's own stage 1, or the one that `stage1` names; None for a run without.

    Raises:
        InputError: `stage1` is no folder of a run with a stage 1.
    """
    if config.pretrain:
        return Stage1Run(config.folder, config.pretrain, config.tasks.by_name)
    if config.stage1 is None:
        return None
    other = read_run(config.stage1)
    if other.pretrain is None:
        raise InputError(
            f"stage1 is {config.stage1}, a run without a 'pretrain' section; name one that has it"
        )
    return Stage1Run(config.stage1, other.pretrain, other.tasks.by_name)


def check_stage1(config: RunConfig, stage1: Stage1Run | None, data: DataRecord) -> None:
    """Check another run's stage 1 that this run's stage 2 starts from.

    Raises:
        InputError: it is not done, or was made of other data or for other clips.
    """
    if config.stage1 is None or stage1 is None:
        return
    encoders = stage1_encoders(stage1.pretrain)
    unfinished = [name for name in encoders if finished(config.stage1 / name) is None]
    if unfinished:
        raise InputError(
            f"stage1 is {config.stage1}, where {', '.join(unfinished)} is not finished; let it "
            "end first"
        )
    if not data.agrees_with(data_record(config.stage1)):
        raise InputError(
            f"stage1 is {config.stage1}, a run on other data: its training patients may be test "
            "patients here. Use the same shards, cohort table and splits, or train stage 1 on these"
        )
    other = read_run(config.stage1)
    must_agree = {
        "encoder": (other.encoder, config.encoder),
        "feed.frames": (other.feed.frames, config.feed.frames),
        "feed.size_px": (other.feed.size_px, config.feed.size_px),
    }
    for key, (there, here) in must_agree.items():
        if there != here:
            raise InputError(
                f"{key} is {here}, but the stage 1 in {config.stage1} was trained with {there}; "
                "set it so"
            )


def read_run(folder: Path) -> RunConfig:
    """Read the config of a run that was started.

    Raises:
        InputError: not a run folder.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise InputError(
            f"{folder} is not the folder of a run (no {CONFIG_NAME}); 'bsou train CONFIG' makes one"
        )
    try:
        config = RunConfig.model_validate(read_yaml_file(path, "config"))
    except ValidationError as error:
        raise InputError(
            f"{path} is not the config of a run of this version: {' '.join(str(error).split())}"
        ) from None
    return config.model_copy(update={"output": folder.parent, "name": folder.name})


@dataclass(frozen=True)
class DataRecord:
    """What tells the data of a run from other data."""

    fingerprint: str
    """SHA-256 of clips, contract labels and splits."""
    own_labels: Mapping[str, str]
    """SHA-256 of each label column beside the contract's, by name."""

    def agrees_with(self, other: DataRecord) -> bool:
        """Whether both are of the same data.

        A label column that only one of them uses does not count.
        """
        shared = self.own_labels.keys() & other.own_labels.keys()
        same_labels = all(self.own_labels[name] == other.own_labels[name] for name in shared)
        return self.fingerprint == other.fingerprint and same_labels

    def to_json(self) -> str:
        """Write the record as `data_record` reads it."""
        return json.dumps({"fingerprint": self.fingerprint, "own_labels": dict(self.own_labels)})


def data_record(folder: Path) -> DataRecord:
    """Read what data a run was begun on.

    Raises:
        InputError: the run's folder does not tell.
    """
    path = folder / DATA_NAME
    if not path.is_file():
        raise InputError(
            f"{folder} has no {DATA_NAME}, which tells what data the run was begun on; start a "
            "new run"
        )
    content = json.loads(path.read_text())
    return DataRecord(content["fingerprint"], content.get("own_labels", {}))


def finished(folder: Path) -> dict[str, Any] | None:
    """Read what a finished stage in `folder` left on record; None if it is not finished."""
    path = folder / DONE
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def method_title(config: RunConfig, stage1: Stage1Run | None) -> str:
    """Name of a run's method as tables show it; a share of the patients makes it another one."""
    title = stage1.title if stage1 else SUPERVISED
    if config.finetune is None or config.finetune.train_share == 1:
        return title
    return f"{title}, {100 * config.finetune.train_share:g} % of patients"
