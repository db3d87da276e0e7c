"""From a block of YAML to a task of the kind that it names."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, ValidationError

from bsou_dist.common.settings import describe_faults
from bsou_dist.tasks.kinds.classification import ClassificationTask
from bsou_dist.tasks.kinds.regression import RegressionTask
from bsou_dist.tasks.task import Task

KINDS: dict[str, type[Task]] = {
    "classification": ClassificationTask,
    "regression": RegressionTask,
}


def make_task(block: Any) -> Task:
    """Make the task that a block of YAML describes; a task is returned as it is.

    Raises:
        ValueError: the block is no mapping, names no known kind, or is no task of that kind; every
            fault is in the message.
    """
    if isinstance(block, Task):
        return block
    if not isinstance(block, dict):
        raise ValueError(f"a task is a mapping with name, kind and label, got {block!r}")
    kind = block.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; known kinds: {', '.join(KINDS)}")
    try:
        return KINDS[kind].model_validate(block)
    except ValidationError as error:
        raise ValueError("; ".join(describe_faults(KINDS[kind], error))) from None


AnyTask = Annotated[
    Task,
    PlainValidator(make_task),
    PlainSerializer(lambda task: task.model_dump(mode="json"), return_type=dict),
]
"""A field of a config that holds a task of any kind."""
