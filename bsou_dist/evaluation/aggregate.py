"""Exam values from clip predictions. Nothing is ever averaged over two exams."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pandas as pd

from bsou_dist.common.errors import InputError

_EXAM = ["task", "set", "split", "exam"]
AGE_COLUMN = "ga_days"
"""Column of predictions with the gestational age."""
CALIBRATION_DF = "calibration_df"
"""Degrees of freedom of a recalibrated variance."""
_SHARED = ["study", "patient", "device", "operator", "site", "bmi", "ga_days", "sweeps_present"]


def exam_predictions(clips: pd.DataFrame, *, labels_differ: bool = False) -> pd.DataFrame:
    """Inverse-variance weighted mean over the clips of each exam (the paper's section 4.1).

    For clips i of an exam: prediction = sum(mu_i / var_i) / sum(1 / var_i), variance = 1 / sum(1 /
    var_i). That variance is too small, since clips of one exam are not independent;
    ``recalibrate_variance`` mends it.

    Args:
        clips: clip rows of regression tasks, in the columns of ``predictions.parquet``.
        labels_differ: clips of one exam may have different labels; the exam's is their mean.

    Returns:
        A row per (task, set, split, exam), ``key`` being the exam.

    Raises:
        InputError: a variance is missing or not positive, or an exam has two patients or two
            labels that must not differ.
    """
    unusable = ~clips["variance"].gt(0) | clips["prediction"].isna()
    if unusable.any():
        row = clips[unusable].iloc[0]
        raise InputError(
            f"{int(unusable.sum())} clip predictions can't be averaged, first {row['key']!r} of "
            "task "
            f"{row['task']!r}: prediction {row['prediction']}, variance {row['variance']}; a "
            "prediction "
            "and a positive variance are needed"
        )
    _check_unique(clips, ["patient"] if labels_differ else ["label", "patient"])
    weight = 1.0 / clips["variance"]
    groups = clips.assign(weight=weight, weighted=clips["prediction"] * weight).groupby(
        _EXAM, sort=True
    )
    sums = groups[["weight", "weighted"]].sum()
    values = {"prediction": sums["weighted"] / sums["weight"], "variance": 1.0 / sums["weight"]}
    shared = [name for name in _SHARED if name in clips.columns]
    exams = groups[["label", *shared]].first().assign(**values)
    if labels_differ:
        exams["label"] = groups["label"].mean()
    exams = exams.reset_index()
    return exams.assign(level="exam", key=exams["exam"]).reindex(columns=clips.columns)


def exam_classes(clips: pd.DataFrame) -> pd.DataFrame | None:
    """Mean of the class probabilities over the clips of each exam, and its most probable class.

    Args:
        clips: clip rows of classification tasks, in the columns of ``predictions.parquet``.

    Returns:
        A row per (task, set, split, exam), ``key`` being the exam; None where a clip has no
        probabilities, or two clips of one exam have different labels.

    Raises:
        InputError: an exam has two patients.
    """
    groups = clips.groupby(_EXAM, sort=True)
    _check_unique(clips, ["patient"])
    if clips["probabilities"].isna().any() or groups["label"].nunique().gt(1).any():
        return None
    shared = [name for name in _SHARED if name in clips.columns]
    exams = groups[["label", *shared]].first()
    exam_of_clip = groups.ngroup().to_numpy()
    of_clips = np.stack(clips["probabilities"].tolist())
    sums = np.zeros((len(exams), of_clips.shape[1]))
    np.add.at(sums, exam_of_clip, of_clips)
    means = sums / np.bincount(exam_of_clip)[:, None]
    exams["probabilities"] = means.tolist()
    exams["prediction"] = means.argmax(axis=1).astype(float)
    exams = exams.reset_index()
    return exams.assign(level="exam", key=exams["exam"]).reindex(columns=clips.columns)


def is_for_calibration(patients: pd.Series) -> pd.Series:
    """Whether a validation patient is kept for calibration, bool, of about every second one.

    Exams that chose the checkpoint have smaller errors than others will. So stage 2 of a task that
    is recalibrated chooses by the rest of the patients. It is a function of the name alone, the
    same in training and afterwards.
    """
    kept = {name: _hash(name) % 2 == 0 for name in patients.unique()}
    return patients.map(kept).astype(bool)


def _hash(name: object) -> int:
    digest = blake2b(str(name).encode(), digest_size=8, person=b"calibration").digest()
    return int.from_bytes(digest, "big")


def recalibrate_variance(valid_exams: pd.DataFrame, test_exams: pd.DataFrame) -> pd.DataFrame:
    """Scale the variance of `test_exams` by one factor from validation exams of their own.

    These are the exams of patients who did not choose the checkpoint (`is_for_calibration`).

    The factor is their mean squared standardised error. It is itself uncertain: the error over its
    rescaled deviation follows Student's t distribution, with as many degrees of freedom as patients
    went into the factor, kept in column `CALIBRATION_DF`. Without such exams that have a label the
    variance stays as it is, and the column is left out.
    """
    valid_exams = valid_exams[is_for_calibration(valid_exams["patient"])]
    squared = (valid_exams["label"] - valid_exams["prediction"]) ** 2 / valid_exams["variance"]
    factor = squared.mean()  # of the labelled exams; NaN if there are none
    if pd.isna(factor):
        return test_exams
    patients = valid_exams.loc[squared.notna(), "patient"].nunique()
    recalibrated = test_exams.assign(variance=test_exams["variance"] * factor)
    recalibrated[CALIBRATION_DF] = float(patients)
    return recalibrated


def _check_unique(clips: pd.DataFrame, columns: Sequence[str]) -> None:
    """InputError if clips of one exam differ in one of some columns."""
    contradictory = clips.groupby(_EXAM)[list(columns)].nunique().gt(1)
    for column in columns:
        torn = contradictory.index[contradictory[column]]
        if len(torn):
            raise InputError(
                f"{len(torn)} exams have two values of {column}, first {torn[0][-1]!r} of task "
                f"{torn[0][0]!r}; an exam is one visit of one patient"
            )
