"""What a score is worth: how far off it is, and how far the middle of the training labels."""

import numpy as np
import pandas as pd

from bsou_dist.evaluation import metrics
from bsou_dist.evaluation.figures import Mean
from bsou_dist.evaluation.kinds.protocol import NamedMetric
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.predict.linear_models import NumberModel, fit_best


class ScoreEvaluation:
    primary = ("mae", "bias")
    lower_is_better = True
    compared = ("mae",)

    def is_recalibrated(self, task):
        return False

    def scored(self, task, units, validation=None):
        return Scored(units["label"].to_numpy(float), units["prediction"].to_numpy(float))

    def metrics(self, task, units):
        return [
            NamedMetric("mae", Mean(metrics.absolute_error, positive=True)),
            NamedMetric("bias", Mean(metrics.error)),
        ]

    def subgroup_metrics(self, task):
        return ("mae",)

    def counts(self, task, units, patients):
        return []

    def fixed(self, task, units):
        return {}

    def constant_predictions(self, task, units, train_labels):
        return Scored(units.label, np.full(len(units.label), float(train_labels.median())))

    def from_age(self, task, units, train, validation):
        return None

    def linear_predictions(self, task, train, valid, features):
        model = fit_best(NumberModel.fit, *train, *valid)
        return pd.DataFrame({"prediction": model.predict(features), "variance": model.variance})

    def exam_values(self, task, units, valid):
        return None
