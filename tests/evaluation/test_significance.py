from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from bsou_dist.evaluation.significance import holm, mcnemar, student


@pytest.mark.parametrize(("first", "second"), [(0, 6), (6, 2), (3, 3), (20, 5), (0, 1)])
def test_mcnemar_is_a_binomial_test_of_the_discordant_pairs(first, second):
    assert mcnemar(first, second) == pytest.approx(binomtest(first, first + second).pvalue)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_mid_p_by_hand():
    """Of 6 discordant pairs none by the first alone: twice 1/64, less what was seen, 1/64."""
    assert mcnemar(0, 6) == pytest.approx(2 / 64)
    assert mcnemar(0, 6, mid_p=True) == pytest.approx(1 / 64)
    assert mcnemar(0, 0) == mcnemar(0, 0, mid_p=True) == 1


def test_student_against_scipy():
    values = np.random.default_rng(0).normal(0.4, 1, 20)
    expected = ttest_1samp(values, 0).pvalue
    assert student(values.mean(), values.var(ddof=1) / 20, 19) == pytest.approx(expected)
    assert np.isnan(student(0.0, 0.0, 19))
    assert student(1.959964, 1.0, np.inf) == pytest.approx(0.05)


def test_holm_by_hand():
    """The smallest of four counts four times, the next three times, and none less than before."""
    found = holm(np.array([0.04, 0.01, np.nan, 0.03, 0.5]))
    np.testing.assert_allclose(found, [0.09, 0.04, np.nan, 0.09, 0.5])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []
