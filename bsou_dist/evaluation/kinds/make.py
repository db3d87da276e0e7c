"""The evaluation that belongs to a task, by the name of its kind."""

from __future__ import annotations

from bsou_dist.evaluation.kinds.classification import ClassificationEvaluation
from bsou_dist.evaluation.kinds.protocol import EvaluationKind
from bsou_dist.evaluation.kinds.regression import RegressionEvaluation
from bsou_dist.tasks.task import Task

EVALUATIONS: dict[str, EvaluationKind] = {
    "classification": ClassificationEvaluation(),
    "regression": RegressionEvaluation(),
}


def evaluation_of(task: Task) -> EvaluationKind:
    """The evaluation of the task's kind."""
    return EVALUATIONS[task.kind]
