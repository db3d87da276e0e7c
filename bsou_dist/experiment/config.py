"""The config of a run: YAML with dotted overrides, checked whole before any file or device is
touched.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.engine.checkpoint import CheckpointConfig
from bsou_dist.engine.make import EngineConfig
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.evaluation.subgroups import SubgroupConfig
from bsou_dist.experiment.data_config import DataConfig
from bsou_dist.feed.augment import AugmentConfig
from bsou_dist.feed.order.make import OrderConfig
from bsou_dist.feed.pixels import FeedConfig
from bsou_dist.model.encoder import EncoderConfig
from bsou_dist.model.norm import BY_BATCH
from bsou_dist.objective.batch_objectives import PositiveCondition
from bsou_dist.objective.contrastive_plan import Denominator
from bsou_dist.objective.supervised import TaskWeighting
from bsou_dist.tasks.task import Task
from bsou_dist.tasks.task_set import TaskSetConfig
from bsou_dist.tracking.mlflow_store import check_uri, local_uri

Method = Literal["mtscon", "mtce", "ucon", "stsl"]
PatientSet = Literal["main", "obese", "handheld"]
AgePrecision = Literal["days", "weeks"]


MOVED = {"learning_rate": "optim.learning_rate", "plateau": "optim.schedule"}
"""Keys of a stage that were once elsewhere, and where they are now."""


ONCE_POSITIVES = {
    "label_and_sweep": "[same_label, same_sweep]",
    "other_patients": "[same_label, other_patient]",
}
"""Values of `pretrain.positives` when it was one word, and how they are written now."""


class StageConfig(StrictConfig):
    """What both stages are told."""

    tasks: list[str] = []
    """Names of tasks that the run knows; by default those that its set of tasks trains on."""
    global_batch: int = Field(32, ge=1)
    """Clips (exams, for exam-level tasks) per optimizer step over all processes; a contrastive loss
    spans them all.
    """
    epochs: int = Field(ge=1)
    min_steps: int = Field(0, ge=0)
    """Optimizer steps at least: where `epochs` are fewer, as many epochs as it takes.

    So a small set of patients trains long enough, and methods that are compared take equally many
    steps.
    """
    optim: OptimConfig
    order: OrderConfig = OrderConfig()

    def epochs_of(self, steps: int) -> int:
        """Epochs of `steps` steps each that the stage takes."""
        return max(self.epochs, math.ceil(self.min_steps / steps))

    @model_validator(mode="before")
    @classmethod
    def _no_moved_keys(cls, given: Any) -> Any:
        moved = [key for key in MOVED if isinstance(given, dict) and key in given]
        if moved:
            ways = " and ".join(f"{key!r} is now {MOVED[key]!r}" for key in moved)
            raise ValueError(
                f"{ways}: write such as optim: {{learning_rate: 6.0e-5, schedule: {{kind: "
                "plateau, patience: 6, factor: 0.8}} (docs/configs.md)"
            )
        return given


class PretrainOptim(OptimConfig):
    """How stage 1 moves weights, by default as [P1] 4.2 does."""

    learning_rate: float = Field(default=6e-5, gt=0, allow_inf_nan=False)


class FinetuneOptim(OptimConfig):
    """How stage 2 moves weights, by default as [P1] 4.2 does."""

    learning_rate: float = Field(default=3e-4, gt=0, allow_inf_nan=False)


class ProbeConfig(StrictConfig):
    """How stage 1's weights are chosen: by what the nearest embeddings tell of the tasks' classes.

    A contrastive validation loss says little about that: it may rise while the embeddings get
    better.
    """

    neighbours: int = Field(default=20, ge=1)
    """Clips of the training split that vote on a validation clip, the more alike the louder."""
    clips: int = Field(default=1024, ge=2)
    """Clips of the training split among which they are searched: a fixed draw."""
    every_epochs: int = Field(default=1, ge=1)
    """Epochs from one probe to the next; the last epoch always has one."""


class PretrainConfig(StageConfig):
    """Stage 1 ([P1] 3.2): one encoder for all tasks, or for STSL one per task.

    Stage 1 compares classes: a regression takes part by bins of its number.
    """

    method: Method = "mtscon"
    epochs: int = Field(30, ge=1)
    optim: PretrainOptim = PretrainOptim()
    temperature: float = Field(0.1, gt=0, allow_inf_nan=False)
    """Ours: [P1] does not state its own."""
    positives: tuple[PositiveCondition, ...] = ("same_label",)
    """What a pair of clips must have in common to be positives; every one of these."""
    denominator: Denominator = "all_others"
    """Which clips a positive is compared with; [P1] eq. 2 calls them both 'all others' and
    'negatives'.
    """
    equal: TaskWeighting = "pairs"
    """What weighs the same in MTCE where labels are missing."""
    probe: ProbeConfig | None = None
    """How the weights that stage 2 starts from are chosen; None: by the validation loss."""
    cache_rows: int | None = Field(default=None, ge=1)
    """Gradient caching: rows (clips times views) that a process embeds at once, however large its
    part of a batch.
    """
    cache_with_batch_norm: bool = False
    """Allow that with batch norm, which then normalises by chunks: another step than that on the
    whole batch.
    """

    @field_validator("positives", mode="before")
    @classmethod
    def _known_conditions(cls, given: Any) -> Any:
        if isinstance(given, str):
            now = ONCE_POSITIVES.get(given, "[same_label]")
            raise ValueError(
                f"{given!r} is now written as a list of conditions that must all hold, "
                f"same_label among them: positives: {now} (docs/configs.md)"
            )
        return given

    @field_validator("positives")
    @classmethod
    def _same_label(cls, given: tuple[PositiveCondition, ...]) -> tuple[PositiveCondition, ...]:
        if "same_label" not in given or len(set(given)) < len(given):
            raise ValueError(
                f"is {list(given)}; name same_label, and with it same_sweep or other_patient or "
                "both, each once"
            )
        return given

    @model_validator(mode="after")
    def _enough_to_compare(self) -> PretrainConfig:
        if self.method in ("mtscon", "ucon") and self.global_batch < 2:
            raise ValueError(
                "global_batch is 1, and a contrastive loss compares clips: use 2 or more"
            )
        return self


class FinetuneConfig(StageConfig):
    """Stage 2 ([P1] 3.2): one head per task, on a tuned encoder or a frozen one's embeddings."""

    sets: list[PatientSet] = ["main"]
    encoder: Literal["tuned", "frozen"] = "tuned"
    intensity_only: bool = True
    """Whether a linear model of brightness, length, size and metadata stands in the tables too."""
    ages: AgePrecision = "days"
    """Gestational ages in predictions, as labels too: to the day, or to the middle of their week,
    where predictions are handed on; figures then rest on these.
    """
    train_share: float = Field(1.0, gt=0, le=1)
    """Share of the training patients that heads are tuned on, for a learning curve. A larger share
    holds the patients of a smaller one of the same seed.
    """
    epochs: int = Field(15, ge=1)
    optim: FinetuneOptim = FinetuneOptim()

    @field_validator("sets")
    @classmethod
    def _distinct(cls, sets: list[PatientSet]) -> list[PatientSet]:
        if not sets or len(set(sets)) < len(sets):
            raise ValueError(f"name at least one set of patients and none twice, got {sets}")
        return sets


class TrackingConfig(StrictConfig):
    """Address of the MLflow store that remembers runs, by default a SQLite file under `output`; and
    what people see.
    """

    uri: str | None = None
    experiment: str = "bsou"
    line_every_s: float = Field(default=60.0, gt=0)
    """Where output is no terminal: seconds between two lines about training."""

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
    tasks: TaskSetConfig = TaskSetConfig()
    """What can be asked of the data; the stages name those that they train on."""
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
    subgroups: SubgroupConfig = SubgroupConfig()
    """Groups of patients that results are broken down by."""

    @model_validator(mode="after")
    def _stages_that_can_be_done(self) -> RunConfig:
        pretrain, finetune = self.pretrain, self.finetune
        if pretrain is None and finetune is None:
            raise ValueError(
                "nothing to do: give a 'pretrain' section, a 'finetune' section or both"
            )
        if pretrain and pretrain.probe and self.engine.zero_stage == 3:
            raise ValueError(
                "pretrain.probe embeds clips by a whole encoder, and with engine.zero_stage 3 no "
                "process holds one: leave the probe out, or use zero_stage 2"
            )
        if self.encoder.norm == "frozen_batch" and self.encoder.weights == "none":
            raise ValueError(
                "encoder.norm is 'frozen_batch', but with encoder.weights 'none' there are no "
                "statistics to keep: give weights, or set encoder.norm to 'group'"
            )
        normalised_by_batch = self.encoder.norm in BY_BATCH
        cuts_batches = pretrain and pretrain.cache_rows and not pretrain.cache_with_batch_norm
        if cuts_batches and normalised_by_batch:
            raise ValueError(
                "pretrain.cache_rows cuts a batch into chunks, which changes what batch norm "
                "normalises by: set encoder.norm to 'group' or 'frozen_batch', or accept it "
                "with pretrain.cache_with_batch_norm: true"
            )
        if self.stage1 and (pretrain or not finetune):
            raise ValueError(
                f"stage1 is {str(self.stage1)!r}, the run whose encoder a 'finetune' section "
                "starts from: give that section, and no 'pretrain' section"
            )
        if not pretrain and not self.stage1 and finetune and finetune.encoder == "frozen":
            raise ValueError(
                "finetune.encoder is 'frozen', and without a 'pretrain' section or 'stage1' there "
                "is no trained encoder to freeze: use 'tuned'"
            )
        return self

    @model_validator(mode="after")
    def _stages_of_known_tasks(self) -> RunConfig:
        known = self.tasks.by_name
        faults = []
        for name in ("pretrain", "finetune"):
            stage: StageConfig | None = getattr(self, name)
            if stage is None:
                continue
            if not stage.tasks:
                stage = stage.model_copy(update={"tasks": self.tasks.stage_default(name)})
                object.__setattr__(self, name, stage)  # frozen, and not finished before this
            faults += _task_faults(name, stage, known)
        if faults:
            raise ValueError("\n  ".join(faults))
        return self

    @property
    def folder(self) -> Path:
        """Where the run leaves what it makes."""
        return self.output / self.name

    @property
    def tracking_uri(self) -> str:
        return self.tracking.uri or local_uri(self.output)

    @property
    def used_tasks(self) -> dict[str, Task]:
        """Tasks that a stage trains on or balances its batches by, by name."""
        names: set[str] = set()
        for stage in (self.pretrain, self.finetune):
            if stage:
                names.update(stage.tasks, [stage.order.by] if stage.order.by else [])
        return {name: task for name, task in self.tasks.by_name.items() if name in names}

    def described(self) -> dict[str, Any]:
        """Give all settings as plain values, of tasks those that are used, by name.

        That is what two runs are compared by and what a tracker remembers.
        """
        tasks = {name: task.model_dump(mode="json") for name, task in self.used_tasks.items()}
        return {**self.model_dump(mode="json"), "tasks": tasks}


def _task_faults(name: str, stage: StageConfig, known: Mapping[str, Task]) -> list[str]:
    """What is wrong with the tasks that a stage names."""
    if not stage.tasks:
        return [f"{name}.tasks: name at least one task; known: {', '.join(known) or 'none'}"]
    faults = []
    for task in stage.tasks:
        if task not in known:
            near = difflib.get_close_matches(task, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            faults.append(f"{name}.tasks: {task!r} is not a task; known: {', '.join(known)}{hint}")
    if len(set(stage.tasks)) < len(stage.tasks):
        faults.append(f"{name}.tasks: name no task twice, got {stage.tasks}")
    return faults or _order_faults(name, stage, known)


def _order_faults(name: str, stage: StageConfig, known: Mapping[str, Task]) -> list[str]:
    """What is wrong with the classes that a stage balances its batches by."""
    by = stage.order.by
    with_classes = [task for task in known if known[task].class_count]
    if by is not None and by not in with_classes:
        return [
            f"{name}.order.by: {by!r} is not a task with classes; known: {', '.join(with_classes)}"
        ]
    if stage.order.kind != "balanced" or by is not None:
        return []
    if name == "pretrain":
        return [
            f"{name}.order.kind is 'balanced', and stage 1 has several tasks: say with order.by "
            f"which of them to balance, such as {stage.tasks[0]!r}"
        ]
    without = [task for task in stage.tasks if task not in with_classes]
    if not without:
        return []
    return [
        f"{name}.order.kind is 'balanced', and {', '.join(without)} have no classes: say with "
        f"order.by which classes to balance, one of {', '.join(with_classes) or 'none'}, or tune "
        "these tasks in a run of their own"
    ]
