"""What a run leaves on record in its folder: config, data, finished stages.

And the stage 1 that its stage 2 starts from, which may be that of another run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from bsou_dist.common.errors import InputError
from bsou_dist.experiment.config import PretrainConfig, RunConfig
from bsou_dist.experiment.methods import METHODS, stage1_encoders

CONFIG_NAME, DATA_NAME, DONE = "run.yaml", "data.json", "stage.json"


class Stage1Run(NamedTuple):
    """A stage 1 and the folder of the run that made it."""

    folder: Path
    pretrain: PretrainConfig


def stage1_of(config: RunConfig) -> Stage1Run | None:
    """The run's own stage 1, or the one that `stage1` names; None for a run without.

    Raises:
        InputError: `stage1` is no folder of a run with a stage 1.
    """
    if config.pretrain:
        return Stage1Run(config.folder, config.pretrain)
    if config.stage1 is None:
        return None
    other = read_run(config.stage1)
    if other.pretrain is None:
        raise InputError(
            f"stage1 is {config.stage1}, a run without a 'pretrain' section; name one that has it"
        )
    return Stage1Run(config.stage1, other.pretrain)


def check_stage1(config: RunConfig, fingerprint: str) -> None:
    """InputError if another run's stage 1 is not done, or was made of other data or for other
    clips.
    """
    if config.stage1 is None or (stage1 := stage1_of(config)) is None:
        return
    missing = [
        name for name in stage1_encoders(stage1.pretrain) if finished(config.stage1 / name) is None
    ]
    if missing:
        raise InputError(
            f"stage1 is {config.stage1}, where {', '.join(missing)} is not finished; let it end "
            "first"
        )
    if data_fingerprint(config.stage1) != fingerprint:
        raise InputError(
            f"stage1 is {config.stage1}, a run on other data: its training patients may be test "
            "patients "
            "here. Use the same shards, cohort table and splits, or train stage 1 on these"
        )
    other = read_run(config.stage1)
    for key, there, here in (
        ("encoder", other.encoder, config.encoder),
        ("feed.frames", other.feed.frames, config.feed.frames),
        ("feed.size_px", other.feed.size_px, config.feed.size_px),
    ):
        if there != here:
            raise InputError(
                f"{key} is {here}, but the stage 1 in {config.stage1} was trained with {there}; "
                "set it so"
            )


def method_title(config: RunConfig) -> str:
    """The method of a run as tables show it; without stage 1 it is plain supervised training."""
    stage1 = stage1_of(config)
    return METHODS[stage1.pretrain.method].title if stage1 else "Supervised"


def read_run(folder: Path) -> RunConfig:
    """The config of a run that was started.

    Raises:
        InputError: not a run folder.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise InputError(
            f"{folder} is not the folder of a run (no {CONFIG_NAME}); 'bsou train CONFIG' makes one"
        )
    try:
        config = RunConfig.model_validate(yaml.safe_load(path.read_text()))
    except (ValidationError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} is not the config of a run of this version: {' '.join(str(error).split())}"
        ) from None
    return config.model_copy(update={"output": folder.parent, "name": folder.name})


def data_fingerprint(folder: Path) -> str:
    """That of the data which a run was begun on.

    Raises:
        InputError: the run's folder does not tell.
    """
    path = folder / DATA_NAME
    if not path.is_file():
        raise InputError(
            f"{folder} has no {DATA_NAME}, which tells what data the run was begun on; start a "
            "new run"
        )
    fingerprint: str = json.loads(path.read_text())["fingerprint"]
    return fingerprint


def finished(folder: Path) -> dict[str, Any] | None:
    """What a finished stage in `folder` left on record; None if it is not finished."""
    path = folder / DONE
    record: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return record
