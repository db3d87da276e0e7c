"""The training order that a config asks for."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from bsou_dist.common.errors import InputError
from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.order.balanced import Balanced
from bsou_dist.feed.order.grouped import Grouped
from bsou_dist.feed.order.protocol import Order
from bsou_dist.feed.order.shuffled import Shuffled
from bsou_dist.feed.order.windowed import Windowed


class OrderConfig(StrictConfig):
    """In which order items are trained on; see `feed/order/`."""

    kind: Literal["shuffled", "windowed", "balanced", "grouped"] = "shuffled"
    window_shards: int = Field(default=16, ge=1)
    """For 'windowed': shards of a window. Its clips must fit into the machine's free memory
    twice.
    """
    by: str | None = None
    """For 'balanced': the task whose classes a batch holds equally many of; None is the stage's own
    task.
    """
    group: int = Field(default=2, ge=2)
    """For 'grouped': clips of one study that come together."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> OrderConfig:
        for name, kind in (("window_shards", "windowed"), ("by", "balanced"), ("group", "grouped")):
            if kind != self.kind and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} is for kind {kind!r}, and kind is {self.kind!r}: leave {name} out, "
                    "or set "
                    f"kind to {kind!r}"
                )
        return self


def make_order(
    config: OrderConfig, dataset: ClipSet | ExamSet, global_batch: int, seed: int
) -> Order:
    """The training order of `dataset`.

    Raises:
        InputError: fewer items than a batch, or an order that they cannot fill.
    """
    if len(dataset) < global_batch:
        raise InputError(
            f"global_batch is {global_batch} and the training split has {len(dataset)} items; "
            f"set global_batch to at most {len(dataset)}"
        )
    if config.kind == "windowed":
        return Windowed(shard_of(dataset), global_batch, seed, config.window_shards)
    if config.kind == "grouped":
        return Grouped(dataset.study, global_batch, seed, config.group)
    if config.kind == "balanced":
        by = config.by or next(iter(dataset.labels))
        return Balanced(dataset.labels[by], global_batch, seed)
    return Shuffled(len(dataset), global_batch, seed)


def shard_of(dataset: ClipSet | ExamSet) -> np.ndarray:
    """Number of the shard of each item's first clip, int64 (n,), as `ShardReader` numbers them."""
    numbers: np.ndarray = pd.factorize(dataset.clips.manifest["shard"])[0].astype(np.int64)
    return numbers[dataset.first_clip]
