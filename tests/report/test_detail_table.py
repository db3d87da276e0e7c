from __future__ import annotations

import re

import pandas as pd
import pytest
from p1_tasks import TASKS

from bsou_dist.evaluation.evaluate import evaluate_predictions
from bsou_dist.report.detail_table import detail_tables
from bsou_dist.report.method_table import PHANTOM_NOTICE, method_table


@pytest.fixture(scope="module")
def records(predictions) -> pd.DataFrame:
    return evaluate_predictions(predictions, TASKS).assign(method="MTSCon")


def test_tables_of_each_kind(records):
    numbers, found, probabilities = detail_tables(records, TASKS)
    assert re.search("bias +SD ↓ +within 7 days ↑ +within 14 days ↑ +coverage", numbers)
    assert row_labels(numbers) == ["ga, MTSCon", "ga, median / majority"]
    assert re.search("positives +threshold +sensitivity ↑ +specificity ↑", found)
    of_presentation = ["presentation, MTSCon", "presentation, median / majority"]
    assert row_labels(found) == of_presentation
    of_sweep = ["sweep, MTSCon", "sweep, median / majority"]
    assert row_labels(probabilities) == of_presentation + of_sweep


def row_labels(table: str) -> list[str]:
    return re.findall(r"^(\w+, [\w /]+?)  ", table, re.MULTILINE)[1:]


def test_the_majority_is_seen_to_find_nothing(records):
    found = detail_tables(records, TASKS, style="markdown")[1]
    [line] = [line for line in found.splitlines() if line.startswith("| presentation, median")]
    cells = [cell.strip() for cell in line.split("|")][2:]
    positive = records.query("metric == 'class_1' and set == 'main' and level == 'exam'").iloc[0]
    assert cells[0] == f"{positive['value']:.0f}/120<br>{positive['n_patients']}/60 patients"
    assert cells[1] == "–", "no threshold is fixed for it"
    assert cells[2].startswith("0.0<br>")
    assert cells[3].startswith("100.0<br>")
    assert cells[4] == "n.e.", "nothing is called positive"


def test_the_positive_class_stands_beside_n(records):
    positive = records.query("metric == 'class_1' and set == 'main' and level == 'exam'").iloc[0]
    expected = f"non_cephalic {positive['value']:.0f}/{positive['n_patients']}"
    text = method_table(records, TASKS)
    assert text.count(expected) == 2, "beside the method and beside the baseline"


def test_an_interval_without_ends_is_not_estimable(records):
    bare = records.assign(low=float("nan"), high=float("nan"))
    assert "n.e." in method_table(bare, TASKS)
    assert "nan" not in "".join([method_table(bare, TASKS), *detail_tables(bare, TASKS)])


def test_phantom_results_say_so(records):
    for table in detail_tables(records, TASKS, phantom=True):
        assert table.count(PHANTOM_NOTICE) == 1
