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
from bsou_dist.feed.order.mixed import Mixed
from bsou_dist.feed.order.protocol import Order
from bsou_dist.feed.order.shuffled import Shuffled
from bsou_dist.feed.order.windowed import Windowed


class OrderConfig(StrictConfig):
    """The order that items are trained in; see `feed/order/`."""

    kind: Literal["shuffled", "windowed", "balanced", "grouped"] = "shuffled"
    window_shards: int = Field(default=16, ge=1)
    """For 'windowed': shards of a window. The machine's free memory must hold its clips twice."""
    by: str | None = None
    """For 'balanced': the task whose classes are balanced; None is the stage's own task."""
    group: int = Field(default=2, ge=2)
    """For 'grouped': clips of one study that come together."""

    @model_validator(mode="after")
    def _check(self) -> OrderConfig:
        kinds = {"window_shards": "windowed", "by": "balanced", "group": "grouped"}
        for name, kind in kinds.items():
            default = type(self).model_fields[name].default
            if kind != self.kind and getattr(self, name) != default:
                raise ValueError(
                    f"{name} is for kind {kind!r}, and kind is {self.kind!r}: leave {name} out, "
                    f"or set kind to {kind!r}"
                )
        return self


def make_order(
    config: OrderConfig,
    dataset: ClipSet | ExamSet,
    global_batch: int,
    seed: int,
    *,
    keep_all: bool = False,
) -> Order:
    """The training order of `dataset`.

    With `keep_all` an epoch of 'shuffled' and 'windowed' holds every item, in batches that may be
    smaller; the other orders have epochs of their own making.

    Raises:
        InputError: fewer items than a batch, or an order that they cannot fill.
    """
    if len(dataset) < global_batch:
        raise InputError(
            f"global_batch is {global_batch} and the training split has {len(dataset)} items; "
            f"set global_batch to at most {len(dataset)}"
        )
    mixture = dataset.clips.mixture
    if mixture is not None:
        if config.kind != "shuffled":
            raise InputError(
                f"order.kind is {config.kind!r}, and several sources are mixed in the order "
                "'shuffled' only"
            )
        source = mixture.source[dataset.first_clip]
        return Mixed(source, mixture.weights, global_batch, seed)
    if config.kind == "windowed":
        shards = shard_of(dataset)
        return Windowed(shards, global_batch, seed, config.window_shards, keep_all)
    if config.kind == "grouped":
        return Grouped(dataset.study, global_batch, seed, config.group)
    if config.kind == "balanced":
        task = config.by or next(iter(dataset.labels))
        return Balanced(dataset.labels[task], global_batch, seed)
    return Shuffled(len(dataset), global_batch, seed, keep_all)


def shard_of(dataset: ClipSet | ExamSet) -> np.ndarray:
    """Number of the shard of each item's first clip, int64 (n,), as `ShardReader` numbers them."""
    codes, _ = pd.factorize(dataset.clips.manifest["shard"])
    shard_of_clip: np.ndarray = codes.astype(np.int64)
    return shard_of_clip[dataset.first_clip]
