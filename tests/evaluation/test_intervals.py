from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, t
from sklearn.metrics import roc_auc_score

from bsou_dist.evaluation import metrics
from bsou_dist.evaluation.figures import Area, Deviation, Figure, Mean, Share, Weighted
from bsou_dist.evaluation.intervals import (
    ESTIMABLE,
    NOT_ESTIMABLE,
    difference_of,
    interval_of,
)
from bsou_dist.evaluation.metrics import Scored

ACCURACY = Share(metrics.is_right)
MACRO_F1 = Weighted(metrics.macro_f1, metrics.macro_f1_independent_n, by_class=True)
BIAS = Mean(metrics.error)
MAE = Mean(metrics.absolute_error, positive=True)
SPREAD = Deviation(metrics.absolute_error)


def errors_of(values: np.ndarray) -> Scored:
    return Scored(np.zeros(len(values)), np.asarray(values, float))


def names(count: int, units_each: int = 1) -> np.ndarray:
    return np.repeat(np.arange(count), units_each).astype(str)


def right(count: int, wrong: int) -> Scored:
    """`count` units of which the first `wrong` are wrong."""
    return errors_of(np.arange(count) < wrong)


def classified(seed: int, patients: int, units_each: int = 1, shift: float = 1.0) -> Scored:
    rng = np.random.default_rng(seed)
    label = (rng.uniform(size=patients * units_each) < 0.4).astype(float)
    of_patient = np.repeat(rng.normal(size=patients), units_each)
    score = of_patient + rng.normal(size=len(label)) + shift * label
    chance = 1 / (1 + np.exp(-score))
    return Scored(label, (chance > 0.5).astype(float), np.stack([1 - chance, chance], axis=1))


def test_a_share_of_single_units_has_wilsons_interval():
    found = interval_of(ACCURACY, [right(40, 10)], names(40))
    expected = binomtest(30, 40).proportion_ci(0.95, method="wilson")
    assert (found.value, found.n, found.n_patients, found.kind) == (0.75, 40, 40, ESTIMABLE)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_rare_error_has_a_poisson_bound():
    """1 of 100 wrong: the error rate is at least gamma(0.05; 1) / 100 = -log(0.95) / 100."""
    found = interval_of(ACCURACY, [right(100, 1)], names(100))
    assert found.high == pytest.approx(1 + np.log(0.95) / 100)


@pytest.mark.parametrize(("patients", "units_each"), [(60, 6), (360, 1), (20, 6), (20, 1)])
def test_a_perfect_share_has_an_interval_that_no_lower_share_undercuts(patients, units_each):
    count = patients * units_each
    widths = []
    for wrong in range(count // 4):
        found = interval_of(ACCURACY, [right(count, wrong)], names(patients, units_each))
        widths.append(found.high - found.low)
        assert found.low <= found.value <= found.high
    assert widths[0] > 0.01
    assert min(widths) == pytest.approx(widths[0])


def test_equal_units_of_a_patient_say_no_more_than_one():
    """Twenty clips that are right or wrong together are worth one, but for the t quantile."""
    wrong = np.arange(100) % 4 == 0
    once = interval_of(ACCURACY, [errors_of(wrong)], names(100))
    repeated = interval_of(ACCURACY, [errors_of(np.repeat(wrong, 20))], names(100, 20))
    assert repeated.high - repeated.low == pytest.approx(once.high - once.low, rel=0.05)
    assert (repeated.n, repeated.n_patients) == (2000, 100)


def test_a_mean_has_students_interval_on_patients():
    values = np.random.default_rng(0).normal(size=(30, 4)) + np.arange(30)[:, None] % 7
    found = interval_of(BIAS, [errors_of(values.ravel())], names(30, 4))
    of_patients = values.mean(axis=1)
    half = t.ppf(0.975, 29) * of_patients.std(ddof=1) / np.sqrt(30)
    expected = (values.mean(), values.mean() - half, values.mean() + half)
    assert (found.value, found.low, found.high) == pytest.approx(expected)


def test_a_mean_absolute_error_has_it_on_the_logarithmic_scale():
    values = np.abs(np.random.default_rng(1).normal(size=25))
    found = interval_of(MAE, [errors_of(values)], names(25))
    half = t.ppf(0.975, 24) * values.std(ddof=1) / np.sqrt(25) / values.mean()
    expected = (values.mean() * np.exp(-half), values.mean() * np.exp(half))
    assert (found.low, found.high) == pytest.approx(expected)


def test_an_area_is_sklearns_with_delongs_variance():
    scored = classified(2, 300)
    found = interval_of(Area(), [scored], names(300))
    assert scored.probabilities is not None
    score = scored.probabilities[:, 1]
    assert found.value == pytest.approx(roc_auc_score(scored.label, score))
    # DeLong, DeLong and Clarke-Pearson 1988: variances of the two kinds of structural components.
    positive, negative = score[scored.label == 1], score[scored.label == 0]
    wins = positive[:, None] > negative
    variance = wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.sqrt(variance), rel=0.05)


def test_ties_of_an_area_count_one_half():
    rng = np.random.default_rng(11)
    chance = np.round(rng.uniform(size=80), 1)
    label = rng.integers(0, 2, 80).astype(float)
    scored = Scored(label, label, np.stack([1 - chance, chance], axis=1))
    found = interval_of(Area(), [scored], names(80))
    assert found.value == pytest.approx(roc_auc_score(label, chance))


def test_a_perfect_area_has_an_interval():
    label = np.repeat([0.0, 1.0], 20)
    scored = Scored(label, label, np.stack([1 - label, label], axis=1))
    found = interval_of(Area(), [scored], names(40))
    assert found.value == found.high == 1
    assert 0.8 < found.low < 0.95


def test_an_area_over_three_classes_is_the_mean_of_each_against_the_rest():
    rng = np.random.default_rng(3)
    label = rng.integers(0, 3, 120).astype(float)
    probabilities = rng.dirichlet(np.ones(3), 120) + 0.5 * np.eye(3)[label.astype(int)]
    scored = Scored(label, probabilities.argmax(1).astype(float), probabilities)
    found = interval_of(Area(), [scored], names(60, 2))
    expected = np.mean(
        [roc_auc_score(label == index, probabilities[:, index]) for index in (0, 1, 2)]
    )
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("figure", [ACCURACY, MACRO_F1, BIAS, MAE, SPREAD, Area()])
def test_neither_order_of_rows_nor_names_of_patients_matter(figure: Figure):
    scored, patients = classified(4, 40, 3), names(40, 3)
    assert scored.probabilities is not None
    order = np.random.default_rng(5).permutation(len(patients))
    renamed = np.array([f"x{(int(name) * 17) % 40}" for name in patients])
    mixed = Scored(scored.label[order], scored.prediction[order], scored.probabilities[order])
    first = interval_of(figure, [scored], patients)
    assert first == interval_of(figure, [scored], patients)
    again = interval_of(figure, [mixed], renamed[order])
    assert again[:5] == pytest.approx(first[:5], rel=1e-12)


@pytest.mark.parametrize("figure", [ACCURACY, MACRO_F1, BIAS, MAE, SPREAD])
def test_too_few_patients_have_no_interval(figure: Figure):
    found = interval_of(figure, [right(24, 7)], names(4, 6))
    assert found.kind == NOT_ESTIMABLE
    assert np.isnan([found.low, found.high]).all()
    assert np.isfinite(found.value)
    if figure in (ACCURACY, BIAS, MAE):
        assert interval_of(figure, [right(30, 7)], names(5, 6)).kind == ESTIMABLE


def test_an_area_takes_patients_of_both_classes():
    label = (np.arange(40) < 4).astype(float)
    scored = Scored(label, label, np.stack([1 - label, label], axis=1))
    assert interval_of(Area(), [scored], names(40)).kind == NOT_ESTIMABLE
    one_class = Scored(np.zeros(40), label, np.stack([1 - label, label], axis=1))
    found = interval_of(Area(), [one_class], names(40))
    assert found.kind == NOT_ESTIMABLE
    assert np.isnan(found.value)


def test_no_spread_is_no_certainty_for_numbers():
    """Errors that are all alike, or all 0, show no spread to make an interval of."""
    for figure in (BIAS, MAE, SPREAD):
        assert interval_of(figure, [errors_of(np.full(20, 2.0))], names(20)).kind == NOT_ESTIMABLE
        assert interval_of(figure, [errors_of(np.zeros(20))], names(20)).kind == NOT_ESTIMABLE


def test_a_share_over_units_that_count():
    """Sensitivity: right among the positive, whatever the others are."""

    def right_if_positive(scored: Scored) -> np.ndarray:
        return np.where(scored.label == 1, scored.prediction == 1, np.nan)

    label = np.repeat([1.0, 0.0], [20, 30])
    prediction = np.repeat([1.0, 0.0, 1.0], [15, 5, 30])
    found = interval_of(Share(right_if_positive), [Scored(label, prediction)], names(50))
    alone = interval_of(ACCURACY, [right(20, 5)], names(20))
    assert found == alone


def test_the_difference_of_two_means_is_students_on_the_pairs():
    rng = np.random.default_rng(6)
    one, other = rng.normal(size=50), rng.normal(size=50)
    found = difference_of(BIAS, [errors_of(one)], [errors_of(other)], names(50))
    half = t.ppf(0.975, 49) * (one - other).std(ddof=1) / np.sqrt(50)
    value = (one - other).mean()
    assert found[:3] == pytest.approx((value, value - half, value + half))


def test_the_difference_of_two_shares_is_bonett_and_prices():
    """20 pairs: 6 right by the first alone, 2 by the second alone."""
    first = Scored(np.ones(20), np.repeat([1.0, 1.0, 0.0, 0.0], [10, 6, 2, 2]))
    second = Scored(np.ones(20), np.repeat([1.0, 0.0, 1.0, 0.0], [10, 6, 2, 2]))
    found = difference_of(ACCURACY, [first], [second], names(20))
    more, less = 7 / 22, 3 / 22
    half = 1.959964 * np.sqrt((more + less - (more - less) ** 2) / 22)
    assert found[:3] == pytest.approx((0.2, more - less - half, more - less + half))


def test_methods_that_agree_everywhere_may_still_differ():
    same = difference_of(ACCURACY, [right(20, 3)], [right(20, 3)], names(20))
    assert same.value == 0
    assert same.low < -0.1
    assert same.high > 0.1
    assert difference_of(MAE, [right(20, 3)], [right(20, 3)], names(20)).kind == NOT_ESTIMABLE


@pytest.mark.parametrize("figure", [ACCURACY, MACRO_F1, MAE, SPREAD, Area()])
def test_a_difference_the_other_way_round_changes_sign(figure: Figure):
    one, other = classified(7, 60, 2), classified(7, 60, 2, shift=2.0)
    there = difference_of(figure, [one], [other], names(60, 2))
    back = difference_of(figure, [other], [one], names(60, 2))
    assert back[:3] == pytest.approx((-there.value, -there.high, -there.low))


def test_a_paired_difference_is_narrower_than_either():
    shared = np.abs(10 * np.random.default_rng(8).normal(size=100))
    worse, better = errors_of(shared + 2), errors_of(shared + 0.1 * np.arange(100) / 100)
    margin = difference_of(MAE, [worse], [better], names(100))
    alone = interval_of(MAE, [better], names(100))
    assert margin.value == pytest.approx(1.95, abs=0.01)
    assert margin.high - margin.low < 0.1 * (alone.high - alone.low)


def test_seeds_that_agree_change_nothing_and_seeds_that_differ_widen():
    values = np.random.default_rng(9).normal(size=40)
    one = interval_of(BIAS, [errors_of(values)], names(40))
    agreeing = interval_of(BIAS, [errors_of(values)] * 3, names(40))
    assert agreeing[:3] == pytest.approx(one[:3])
    shifted = [errors_of(values + shift) for shift in (-1, 0, 1)]
    apart = interval_of(BIAS, shifted, names(40))
    assert apart.value == pytest.approx(one.value)
    # By hand: variance over patients and 1/3 of the variance over seeds (1), Satterthwaite.
    of_patients, of_seeds = values.var(ddof=1) / 40, 1 / 3
    df = (of_patients + of_seeds) ** 2 / (of_patients**2 / 39 + of_seeds**2 / 2)
    half = t.ppf(0.975, df) * np.sqrt(of_patients + of_seeds)
    assert apart.high - apart.low == pytest.approx(2 * half)


def test_what_is_noise_of_patient_and_seed_is_counted_once():
    """Seeds that differ by noise of each unit alone add nothing to the spread of their means."""
    rng = np.random.default_rng(10)
    seeds = [errors_of(rng.normal(size=400)) for _ in range(30)]
    found = interval_of(BIAS, seeds, names(400))
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(12000), rel=0.3)


@pytest.mark.parametrize(
    ("figure", "truth"),
    [(BIAS, 0.0), (MAE, np.sqrt(2 / np.pi)), (SPREAD, np.sqrt(1 - 2 / np.pi))],
)
def test_intervals_hold_on_few_patients_with_many_clips(figure: Figure, truth: float):
    """About 95 of 100; the whole table is in docs/evaluation.md."""
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        of_patient = np.repeat(rng.normal(size=20), 6)
        values = np.sqrt(0.3) * of_patient + np.sqrt(0.7) * rng.normal(size=120)
        found = interval_of(figure, [errors_of(values)], names(20, 6))
        held += found.low <= truth <= found.high
    assert 180 <= held <= 199
