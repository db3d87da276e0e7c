"""How labels stand in arrays: class indices as int64, numbers as floating point, and gaps."""

from __future__ import annotations

import numpy as np

MISSING_CLASS = -1
"""Class index of a missing label."""


def missing_label(dtype: np.dtype) -> float:
    """What stands for a missing label in an array of `dtype`: `MISSING_CLASS`, or NaN."""
    return MISSING_CLASS if np.issubdtype(dtype, np.integer) else np.nan


def is_missing(labels: np.ndarray) -> np.ndarray:
    """Whether each label is missing, bool with the shape of `labels`."""
    if np.issubdtype(labels.dtype, np.integer):
        return labels == MISSING_CLASS
    return np.isnan(labels)


def labels_as_numbers(labels: np.ndarray) -> np.ndarray:
    """Labels as float64, NaN where one is missing, whatever their type."""
    numbers = labels.astype(np.float64)
    numbers[is_missing(labels)] = np.nan
    return numbers
