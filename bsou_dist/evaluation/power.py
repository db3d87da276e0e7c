"""How many patients a comparison of two methods needs, from the predictions at hand.

Two-sided at the 5 % level. A difference of shares with one unit per patient is planned for
McNemar's test by the share of discordant pairs (Connor 1987), everything else for Student's paired
test by what one patient's difference varies by (Guenther 1981).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from scipy.special import ndtri

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation.compare import compared_figures, one_exam_per_patient
from bsou_dist.evaluation.estimates import Clusters, Estimate
from bsou_dist.evaluation.evaluate import scored, units_of_seeds
from bsou_dist.evaluation.figures import Figure, Share
from bsou_dist.evaluation.intervals import estimate_of, paired
from bsou_dist.evaluation.kinds.make import evaluation_of
from bsou_dist.evaluation.scales import Z_95
from bsou_dist.tasks.task import Task

POWERS = (0.8, 0.9)
_RIVAL = "an equal rival"
_ASSUMED = "assumed"
_AT_HAND = "pairs"


@dataclass(frozen=True)
class Variation:
    """How much two methods' difference varies from patient to patient.

    Attributes:
        task, set_name, metric: what is compared.
        methods: the two methods, or the one and an assumed rival.
        n_patients: patients at hand.
        deviation: standard deviation of one patient's difference, in the metric's unit.
        source: pairs at hand, or what is assumed.
        discordant: share of pairs in which one method alone is right, where McNemar's test is
            planned; None for Student's.
    """

    task: str
    set_name: str
    metric: str
    methods: tuple[str, str]
    n_patients: int
    deviation: float
    source: str
    discordant: float | None = None

    def patients_for(self, difference: float, power: float) -> int:
        """Smallest number of patients that shows a difference with this power.

        Raises:
            InputError: the difference is not above 0, or a share's is 1 or more.
        """
        if not difference > 0 or (self.discordant is not None and difference >= 1):
            raise InputError(
                f"a difference of {difference:g} can't be planned for; give one above 0, and below "
                "1 for a share"
            )
        if self.discordant is None:
            return _patients_by_student(self.deviation, difference, power)
        return _patients_by_mcnemar(self.discordant, difference, power)

    def smallest_difference(self, power: float) -> float:
        """The smallest difference that the patients at hand show with this power.

        NaN where they can't show any.
        """
        low, high = 0.0, 1.0 - 1e-9
        if self.discordant is None:
            high = 100 * max(self.deviation, 1e-12)
        if self.patients_for(high, power) > self.n_patients:
            return math.nan
        for _ in range(60):
            middle = (low + high) / 2
            if self.patients_for(middle, power) <= self.n_patients:
                high = middle
            else:
                low = middle
        return high


def power_table(
    predictions: pd.DataFrame,
    tasks: Mapping[str, Task],
    *,
    difference: float | None = None,
    split: str = "test",
) -> pd.DataFrame:
    """Plan comparisons on every task and set that predictions are of.

    With two methods or more their pairs tell how much a difference varies. One method alone is
    planned against a rival that is as good and errs independently of it, which asks for too many
    patients rather than too few, since methods tend to err on the same exams.

    Args:
        predictions: as of `compare_methods`; a column `method` is needed for several alone.
        tasks: the tasks by name.
        difference: the difference to find, in the metric's unit (a share as 0.05); None leaves
            those columns out.
        split: which split to take.

    Returns:
        A row per task, set, metric and pair, with the number of patients at hand, the discordant
        share or the deviation of a patient's difference, and for every power of `POWERS` in percent
        `smallest_80` and, with a difference, `patients_80`.

    Raises:
        InputError: nothing to plan by.
    """
    rows = one_exam_per_patient(predictions, split)
    if "method" in rows and rows["method"].nunique() > 1:
        variations = _of_pairs(rows, tasks, split)
    else:
        variations = _of_one(rows, tasks, split)
    records = []
    for variation in variations:
        record: dict[str, object] = {
            "task": variation.task,
            "set": variation.set_name,
            "metric": variation.metric,
            "methods": " - ".join(variation.methods),
            "from": variation.source,
            "patients": variation.n_patients,
            "discordant": variation.discordant,
            "sd": variation.deviation,
        }
        for power in POWERS:
            record[f"smallest_{100 * power:.0f}"] = variation.smallest_difference(power)
            if difference is not None:
                record[f"patients_{100 * power:.0f}"] = variation.patients_for(difference, power)
        records.append(record)
    if not records:
        raise InputError(
            "no figure with enough patients to plan by: a comparison takes 5 patients of each class"
        )
    return pd.DataFrame(records)


def _of_pairs(rows: pd.DataFrame, tasks: Mapping[str, Task], split: str) -> Iterator[Variation]:
    for compared in compared_figures(rows, tasks, split=split):
        pairs = paired(compared.one, compared.other)
        if pairs.problem:
            continue
        yield Variation(
            task=compared.units.task.name,
            set_name=compared.units.set_name,
            metric=compared.metric,
            methods=compared.methods,
            n_patients=pairs.n_patients,
            deviation=math.sqrt(pairs.patient_variance * pairs.n_patients),
            source=_AT_HAND,
            discordant=_discordant(compared.figure, pairs),
        )


def _discordant(figure: Figure, pairs: Estimate) -> float | None:
    """Share of discordant pairs, one pair more of either kind, as few show none at all."""
    is_share = isinstance(figure, Share) and pairs.per_unit is not None
    if not is_share or pairs.cluster_size > 1:
        return None
    return (pairs.evidence + 2) / (pairs.n + 2)


def _of_one(rows: pd.DataFrame, tasks: Mapping[str, Task], split: str) -> Iterator[Variation]:
    has_exams = set()
    found = []
    for seeds in units_of_seeds(rows, tasks, split):
        name = (seeds[0].task.name, seeds[0].set_name)
        if seeds[0].level == "exam":
            has_exams.add(name)
        found.append((name, seeds))
    for name, seeds in found:
        if seeds[0].level != "exam" and name in has_exams:
            continue
        task = seeds[0].task
        kind = evaluation_of(task)
        models = [scored(units) for units in seeds]
        clusters = Clusters.of(seeds[0].rows["patient"].to_numpy())
        for named in kind.metrics(task, models[0]):
            if named.name not in kind.compared:
                continue
            one = estimate_of(named.figure, models, clusters)
            if one.problem:
                continue
            discordant = None
            if isinstance(named.figure, Share) and one.cluster_size == 1:
                # Two that are right with the same chance, each by itself.
                share = (one.value * one.n + 1) / (one.n + 2)
                discordant = 2 * share * (1 - share)
            yield Variation(
                task=task.name,
                set_name=seeds[0].set_name,
                metric=named.name,
                methods=(str(rows["method"].iloc[0]) if "method" in rows else "method", _RIVAL),
                n_patients=one.n_patients,
                deviation=math.sqrt(2 * one.patient_variance * one.n_patients),
                source=_ASSUMED,
                discordant=discordant,
            )


def _patients_by_mcnemar(discordant: float, difference: float, power: float) -> int:
    """Connor 1987: pairs for a difference of shares, at the discordance seen or what it implies."""
    # The difference itself is discordance: there can't be less.
    share = max(discordant, difference)
    of_null = Z_95 * math.sqrt(share)
    of_power = float(ndtri(power)) * math.sqrt(share - difference**2)
    return math.ceil(((of_null + of_power) / difference) ** 2)


def _patients_by_student(deviation: float, difference: float, power: float) -> int:
    """Guenther 1981: pairs for a mean difference; the normal number, and 1.92 for Student's."""
    normal = ((Z_95 + float(ndtri(power))) * deviation / difference) ** 2
    return max(2, math.ceil(normal + Z_95**2 / 2))
