"""The reference by intensity: what it is fitted to, and that it looks at no test label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from p1_tasks import TASKS

from bsou_dist.evaluation.evaluate import evaluate_predictions
from bsou_dist.evaluation.reference import INTENSITY_ONLY, intensity_predictions

SPLITS = {"train": 30, "valid": 10, "test": 12}
SWEEPS = ("M", "L")


def made(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of a clip-level and an exam-level task, and features that tell of the labels."""
    rng = np.random.default_rng(seed)
    clips, exams, features = [], [], []
    number = 0
    for split, count in SPLITS.items():
        for _ in range(count):
            exam, number = f"e{number}", number + 1
            age_days, side = rng.uniform(150, 280), int(rng.integers(2))
            shared = {
                "set": "main",
                "split": split,
                "exam": exam,
                "study": exam,
                "patient": exam,
                "device": "a",
                "operator": "expert",
                "site": "s",
                "bmi": 25.0,
                "ga_days": age_days,
            }
            for sweep in SWEEPS:
                key = f"{exam}-{sweep}"
                clips.append(
                    {**shared, "task": "ga", "level": "clip", "key": key, "sweep": sweep}
                    | {"label": age_days, "prediction": 200.0, "variance": 4.0}
                )
                noise = rng.normal(size=3)
                bright = side if sweep == "L" else 0
                told = [age_days + 5 * noise[0], bright + 0.2 * noise[1], noise[2]]
                columns = dict(zip(("age", "side", "noise"), told, strict=True))
                features.append({"key": key, "exam": exam, "sweep": sweep, **columns})
            exams.append(
                {**shared, "task": "placenta", "level": "exam", "key": exam, "sweep": None}
                | {"label": float(side), "prediction": 0.0, "probabilities": [0.5, 0.5]}
            )
    predictions = pd.DataFrame([*clips, *exams])
    return predictions, pd.DataFrame(features).set_index("key")


def of_test(found: pd.DataFrame, task: str) -> pd.DataFrame:
    rows = found[found["task"].eq(task) & found["split"].eq("test")]
    return rows.sort_values("key", ignore_index=True)


def test_what_brightness_tells_is_found():
    predictions, features = made()
    found = intensity_predictions(predictions, TASKS, features)
    assert len(found) == len(predictions)
    ages = of_test(found, "ga")
    assert (ages["prediction"] - ages["label"]).abs().mean() < 8
    sides = of_test(found, "placenta")  # told by one of the sweeps alone
    assert (sides["prediction"] == sides["label"]).mean() > 0.9
    records = evaluate_predictions(predictions, TASKS, references={INTENSITY_ONLY: found})
    values = records.set_index(["task", "level", "metric"])["value"]
    assert values["ga", "exam", "intensity_mae"] < 0.5 * values["ga", "exam", "baseline_mae"]
    assert values["placenta", "exam", "intensity_auc"] > 0.9


def test_labels_of_the_test_split_change_nothing():
    predictions, features = made()
    found = intensity_predictions(predictions, TASKS, features)
    is_test = predictions["split"].eq("test")
    turned = predictions.assign(
        label=predictions["label"].where(~is_test, predictions["label"].to_numpy()[::-1])
    )
    again = intensity_predictions(turned, TASKS, features)
    for task in ("ga", "placenta"):
        pd.testing.assert_series_equal(
            of_test(again, task)["prediction"], of_test(found, task)["prediction"]
        )


def test_a_clip_without_features_is_left_out_and_a_set_without_training_uses_main():
    predictions, features = made()
    handheld = predictions[predictions["split"].eq("test")].assign(set="handheld")
    both = pd.concat([predictions, handheld], ignore_index=True)
    gone = of_test(predictions, "ga")["key"].iloc[0]
    found = intensity_predictions(both, TASKS, features.drop(gone))
    assert gone not in set(found["key"])
    of_main, of_handheld = (
        of_test(found[found["set"].eq(name)], "placenta") for name in ("main", "handheld")
    )
    assert len(of_handheld) == len(of_main) == SPLITS["test"]
    np.testing.assert_allclose(
        np.stack(of_handheld["probabilities"]), np.stack(of_main["probabilities"]), atol=0.2
    )


def test_the_sweep_is_not_told_where_it_may_be_the_label():
    predictions, features = made()
    is_left = predictions["sweep"].eq("L")
    rows = predictions[predictions["level"].eq("clip")].assign(
        task="sweep", label=is_left.astype(float), variance=np.nan, probabilities=None
    )
    found = of_test(
        intensity_predictions(rows, TASKS, features[["exam", "sweep", "noise"]]), "sweep"
    )
    assert (found["prediction"] == found["label"]).mean() < 0.75


def test_nothing_to_fit_to_gives_no_rows():
    predictions, features = made()
    unlabelled = predictions.assign(label=np.nan)
    assert intensity_predictions(unlabelled, TASKS, features).empty


@pytest.mark.parametrize("column", ["bmi", "device"])
def test_unknown_metadata_do_no_harm(column):
    predictions, features = made()
    predictions[column] = np.nan if column == "bmi" else None
    found = intensity_predictions(predictions, TASKS, features)
    assert found["prediction"].notna().all()
