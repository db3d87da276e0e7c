"""The config of a run: YAML with dotted overrides, checked whole before any file or device is
touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from bsou_dist.cohort.splits import SplitConfig
from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.engine.checkpoint import CheckpointConfig
from bsou_dist.engine.make import EngineConfig
from bsou_dist.feed.augment import AugmentConfig
from bsou_dist.feed.order.make import OrderConfig
from bsou_dist.feed.pixels import FeedConfig
from bsou_dist.model.encoder import EncoderConfig
from bsou_dist.model.norm import BY_BATCH
from bsou_dist.objective.batch_objectives import PositiveRule
from bsou_dist.tasks import TASKS
from bsou_dist.tracking.mlflow_store import check_uri, local_uri

Method = Literal["mtscon", "mtce", "ucon", "stsl"]
ClipClass = Literal["blind", "biometric", "diagnostic"]
PatientSet = Literal["main", "obese", "handheld"]


class DataConfig(StrictConfig):
    """Shards, and the cohort table whose labels and splits are joined to them when training
    starts.
    """

    shards: Path
    cohort: Path
    column_map: str | None = None
    """Name of a ready column map, or YAML with one."""
    pseudonym_key: Path | None = None
    """Default: `pseudonym.key` in the folder `<shards>.private`, where `bsou pack` leaves it."""
    splits: SplitConfig = SplitConfig()
    clip_classes: list[ClipClass] = ["blind"]
    """Clips of other classes are not used; those of unknown class are."""
    allow_circular_dating: bool = False
    """Keep gestational ages that were read off the biometry of the same scan."""
    phantom: bool = False
    """Whether the patients are generated; every table then says so."""


class PlateauConfig(StrictConfig):
    """ReduceLROnPlateau on the validation loss ([P1] 4.2)."""

    patience: int = Field(default=6, ge=0)
    factor: float = Field(default=0.8, gt=0, lt=1)


class StageConfig(StrictConfig):
    tasks: list[str]
    global_batch: int = Field(32, ge=1)
    """Clips (exams, for exam-level tasks) per optimizer step over all processes; a contrastive loss
    spans them all.
    """
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    epochs: int = Field(ge=1)
    plateau: PlateauConfig = PlateauConfig()
    order: OrderConfig = OrderConfig()

    @field_validator("order")
    @classmethod
    def _classes_to_balance(cls, order: OrderConfig) -> OrderConfig:
        known = [name for name, task in TASKS.items() if task.kind == "classification"]
        if order.by is not None and order.by not in known:
            raise ValueError(
                f"by is {order.by!r}; it names a task with classes, one of {', '.join(known)}"
            )
        return order

    @field_validator("tasks")
    @classmethod
    def _known(cls, tasks: list[str]) -> list[str]:
        for task in tasks:
            if task not in TASKS:
                raise ValueError(f"{task!r} is not a task; known: {', '.join(TASKS)}")
        if not tasks or len(set(tasks)) < len(tasks):
            raise ValueError(f"name at least one task and none twice, got {tasks}")
        return tasks


class PretrainConfig(StageConfig):
    """Stage 1 ([P1] 3.2): one encoder for all tasks, or for STSL one per task."""

    method: Method = "mtscon"
    tasks: list[str] = ["ga_bin", "presentation", "placenta", "sweep"]
    learning_rate: float = Field(6e-5, gt=0, allow_inf_nan=False)
    epochs: int = Field(30, ge=1)
    temperature: float = Field(0.1, gt=0, allow_inf_nan=False)
    """Ours: [P1] does not state its own."""
    positives: PositiveRule = "label"
    cache_rows: int | None = Field(default=None, ge=1)
    """Gradient caching: rows (clips times views) that a process embeds at once, however large its
    part of a batch.
    """
    cache_with_batch_norm: bool = False
    """Allow that with batch norm, which then normalises by chunks: another step than that on the
    whole batch.
    """

    @model_validator(mode="after")
    def _classes(self) -> PretrainConfig:
        for task in self.tasks:
            if TASKS[task].kind != "classification":
                raise ValueError(
                    f"stage 1 compares classes, and {task!r} is a regression; "
                    f"use {', '.join(t for t in TASKS if TASKS[t].kind == 'classification')}"
                )
        if self.order.kind == "balanced" and self.order.by is None:
            raise ValueError(
                "order.kind is 'balanced', and stage 1 has several tasks: say with order.by which "
                "of them "
                f"to balance, such as {self.tasks[0]!r}"
            )
        if self.method in ("mtscon", "ucon") and self.global_batch < 2:
            raise ValueError(
                "global_batch is 1, and a contrastive loss compares clips: use 2 or more"
            )
        return self


class FinetuneConfig(StageConfig):
    """Stage 2 ([P1] 3.2): one head per task, on the whole encoder or on cached embeddings of a
    frozen one.
    """

    tasks: list[str] = ["ga", "presentation", "placenta", "sweep", "dvp", "multiple"]
    sets: list[PatientSet] = ["main"]
    encoder: Literal["tuned", "frozen"] = "tuned"

    @field_validator("sets")
    @classmethod
    def _distinct(cls, sets: list[PatientSet]) -> list[PatientSet]:
        if not sets or len(set(sets)) < len(sets):
            raise ValueError(f"name at least one set of patients and none twice, got {sets}")
        return sets

    learning_rate: float = Field(3e-4, gt=0, allow_inf_nan=False)
    epochs: int = Field(15, ge=1)

    @model_validator(mode="after")
    def _classes(self) -> FinetuneConfig:
        values = [task for task in self.tasks if TASKS[task].kind == "regression"]
        if self.order.kind == "balanced" and self.order.by is None and values:
            raise ValueError(
                f"order.kind is 'balanced', and {', '.join(values)} have no classes: say with "
                "order.by "
                "which classes to balance, such as 'ga_bin', or tune these tasks in a run of "
                "their own"
            )
        return self


class TrackingConfig(StrictConfig):
    """Where runs are remembered: an MLflow server's address, or by default a SQLite file under
    `output`.
    """

    uri: str | None = None
    experiment: str = "bsou"

    @field_validator("uri")
    @classmethod
    def _known(cls, uri: str | None) -> str | None:
        if uri is not None:
            check_uri(uri)
        return uri


class RunConfig(StrictConfig):
    """Everything a run is made of."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0)
    output: Path = Path("runs")
    data: DataConfig
    feed: FeedConfig = FeedConfig()
    augment: AugmentConfig = AugmentConfig()
    encoder: EncoderConfig = EncoderConfig()
    engine: EngineConfig = EngineConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tracking: TrackingConfig = TrackingConfig()
    pretrain: PretrainConfig | None = None
    """None starts stage 2 from `stage1`, or else from `encoder.weights`."""
    stage1: Path | None = None
    """Folder of a run on the same data whose finished stage 1 this run's stage 2 starts from."""
    finetune: FinetuneConfig | None = None

    @model_validator(mode="after")
    def _something(self) -> RunConfig:
        if self.pretrain is None and self.finetune is None:
            raise ValueError(
                "nothing to do: give a 'pretrain' section, a 'finetune' section or both"
            )
        if self.encoder.norm == "frozen_batch" and self.encoder.weights == "none":
            raise ValueError(
                "encoder.norm is 'frozen_batch', but with encoder.weights 'none' there are no "
                "statistics "
                "to keep: give weights, or set encoder.norm to 'group'"
            )
        stage1 = self.pretrain
        if (
            stage1
            and stage1.cache_rows
            and self.encoder.norm in BY_BATCH
            and not stage1.cache_with_batch_norm
        ):
            raise ValueError(
                "pretrain.cache_rows cuts a batch into chunks, which changes what batch norm "
                "normalises "
                "by: set encoder.norm to 'group' or 'frozen_batch', or accept it with "
                "pretrain.cache_with_batch_norm: true"
            )
        if self.stage1 and (self.pretrain or not self.finetune):
            raise ValueError(
                f"stage1 is {str(self.stage1)!r}, the run whose encoder a 'finetune' section "
                "starts from: "
                "give that section, and no 'pretrain' section"
            )
        if (
            not self.pretrain
            and not self.stage1
            and self.finetune
            and self.finetune.encoder == "frozen"
        ):
            raise ValueError(
                "finetune.encoder is 'frozen', and without a 'pretrain' section or 'stage1' there "
                "is no "
                "trained encoder to freeze: use 'tuned'"
            )
        return self

    @property
    def folder(self) -> Path:
        """Where the run leaves what it makes."""
        return self.output / self.name

    @property
    def tracking_uri(self) -> str:
        return self.tracking.uri or local_uri(self.output)
