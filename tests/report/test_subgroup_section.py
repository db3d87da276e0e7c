from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from p1_tasks import TASKS

from bsou_dist.evaluation.evaluate import evaluate_predictions
from bsou_dist.evaluation.subgroups import SubgroupConfig, subgroup_records
from bsou_dist.report.subgroup_section import subgroup_section


@pytest.fixture(scope="module")
def in_sites(predictions) -> pd.DataFrame:
    of_main = predictions[predictions["set"].eq("main")]
    return of_main.assign(site=np.where(of_main["patient"].str.endswith("1"), "<b>", "north"))


@pytest.fixture(scope="module")
def records(in_sites) -> pd.DataFrame:
    return evaluate_predictions(in_sites, TASKS).assign(method="MTSCon")


def section(in_sites, records, task: str, min_patients: int) -> str:
    config = SubgroupConfig(min_patients=min_patients)
    subgroups = subgroup_records(in_sites, TASKS, config=config).assign(method="MTSCon")
    return subgroup_section(subgroups, records, TASKS[task])


def test_a_picture_and_a_table(in_sites, records):
    page = section(in_sites, records, "presentation", 5)
    assert page.count("<img ") == 1
    assert page.count("<tr>") == 1 + 2
    assert "site: north" in page
    assert "site: &lt;b&gt;" in page
    for heading in ("accuracy", "AUC", "sensitivity", "specificity"):
        assert f"<th>{heading}</th>" in page
    numbers = section(in_sites, records, "ga", 5)
    assert "trimester: third" in numbers
    assert "within 7 days" in numbers


def test_what_can_t_be_estimated_is_a_table_alone(in_sites, records):
    page = section(in_sites, records, "presentation", 1000)
    assert "<img " not in page
    assert page.count("<td>n.e.</td>") == 2 * 4


def test_a_task_without_subgroups_has_no_section(in_sites, records):
    nothing = subgroup_records(in_sites, TASKS).assign(method="MTSCon").iloc[:0]
    assert subgroup_section(nothing, records, TASKS["ga"]) == ""
