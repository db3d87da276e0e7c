from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from p1_tasks import TASKS

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation.power import Variation, power_table
from bsou_dist.evaluation.significance import mcnemar, student


def variation(n_patients: int, deviation: float, discordant: float | None = None) -> Variation:
    return Variation("t", "main", "m", ("a", "b"), n_patients, deviation, "pairs", discordant)


def test_mean_differences_by_hand():
    """(1.96 + 0.8416)^2 * (10 / 5)^2 = 31.4, and 1.92 for Student's."""
    assert variation(20, 10.0).patients_for(5.0, 0.8) == 34
    assert variation(20, 10.0).patients_for(5.0, 0.9) == 44


def test_shares_by_hand():
    """(1.96 * sqrt(0.2) + 0.8416 * sqrt(0.2 - 0.01))^2 / 0.01 = 154.7."""
    assert variation(20, 1.0, 0.2).patients_for(0.1, 0.8) == 155


def test_planned_numbers_have_the_power_asked_for():
    rng = np.random.default_rng(0)
    count = variation(20, 10.0).patients_for(5.0, 0.8)
    values = rng.normal(5, 10, size=(2000, count))
    found = [student(row.mean(), row.var(ddof=1) / count, count - 1) < 0.05 for row in values]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)
    count = variation(20, 1.0, 0.2).patients_for(0.1, 0.8)
    pairs = rng.multinomial(count, [0.15, 0.05, 0.8], size=2000)
    found = [mcnemar(int(one), int(other)) < 0.05 for one, other, _ in pairs]
    # The exact test is conservative.
    assert np.mean(found) == pytest.approx(0.77, abs=0.05)


@pytest.mark.parametrize("planned", [variation(50, 8.0), variation(50, 1.0, 0.3)])
def test_the_smallest_difference_is_what_the_patients_at_hand_show(planned):
    smallest = planned.smallest_difference(0.8)
    assert planned.patients_for(smallest, 0.8) == 50
    assert planned.patients_for(0.98 * smallest, 0.8) > 50
    assert planned.smallest_difference(0.9) > smallest


def test_too_few_patients_show_nothing():
    assert np.isnan(variation(2, 1.0, 0.3).smallest_difference(0.8))


def test_a_table_of_one_method_and_of_two(predictions):
    alone = power_table(predictions, TASKS, difference=0.1).set_index(["task", "set", "metric"])
    right = alone.loc[("presentation", "main", "accuracy")]
    assert right["patients"] == 60
    assert right["from"] == "assumed"
    two = pd.concat(
        [predictions.assign(method="a", seed=0), predictions.assign(method="b", seed=1)]
    )
    is_age = two["task"].eq("ga") & two["method"].eq("b")
    two.loc[is_age, "prediction"] += np.random.default_rng(0).normal(size=is_age.sum())
    pairs = power_table(two, TASKS, difference=0.1).set_index(["task", "set", "metric"])
    same = pairs.loc[("presentation", "main", "accuracy")]
    assert same["from"] == "pairs"
    # No pair is discordant; one of either kind is added.
    assert same["discordant"] == pytest.approx(2 / 62)
    assert same["patients_80"] < right["patients_80"]
    age = ("ga", "main", "mae")
    assert pairs.loc[age, "sd"] < 0.2 * alone.loc[age, "sd"]
    assert pairs.loc[age, "smallest_80"] < 0.2 * alone.loc[age, "smallest_80"]
    assert "patients_80" not in power_table(predictions, TASKS)


def test_the_users_mistakes(predictions):
    for difference in (0.0, -1.0):
        with pytest.raises(InputError, match="give one above 0"):
            power_table(predictions, TASKS, difference=difference)
    few = predictions[predictions["patient"].isin(predictions["patient"].unique()[:1])]
    few = pd.concat([few, predictions.query("split == 'test'").head(9)])
    with pytest.raises(InputError, match="no figure with enough patients"):
        power_table(few, TASKS)
