"""How the toy kind reads a label: a number that must not be negative."""

from typing import Literal

import numpy as np

from bsou_dist.tasks.kinds.classification import ClassificationTask
from bsou_dist.tasks.task import Task, is_empty


class ScoreTask(Task):
    kind: Literal["score"] = "score"
    best: float
    """The highest score."""

    @property
    def allowed_labels(self):
        return f"a number from 0 to {self.best:g}"

    def encode(self, value):
        if is_empty(value):
            return np.nan
        score = self.read_number(value)
        if not 0 <= score <= self.best:
            raise self.refusal(value)
        return score

    def for_stage1(self, train_labels):
        shared = self.model_dump(include=set(Task.model_fields) - {"kind"})
        return ClassificationTask(**shared, classes=("worse", "better"), bin_edges=(self.best / 2,))

    def summarise(self, labels):
        return [f"scores {self.name}: {np.nanmean(labels):.1f} on average"]
