from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from p1_tasks import TASKS
from pydantic import ValidationError

from bsou_dist.evaluation.evaluate import evaluate_predictions
from bsou_dist.evaluation.intervals import NOT_ESTIMABLE
from bsou_dist.evaluation.subgroups import SUBGROUP_COLUMNS, SubgroupConfig, subgroup_records


@pytest.fixture(scope="module")
def in_groups(predictions) -> pd.DataFrame:
    """Patients of three sites, one of them small; ages as they are; BMI that some lack."""
    number = predictions["patient"].str.extract(r"-(\d+)$")[0].astype(int)
    site = np.select([number < 3, number % 2 == 0], ["small", "north"], "south")
    bmi = np.select([number % 5 == 0, number % 3 == 0], [np.nan, 30.0], 29.9)
    return predictions.assign(site=site, bmi=bmi, sweeps_present=4.0 + number % 2)


@pytest.fixture(scope="module")
def records(in_groups) -> pd.DataFrame:
    return subgroup_records(in_groups, TASKS)


def figure(records: pd.DataFrame, task: str, subgroup: str, group: str, metric: str) -> pd.Series:
    found = records[
        records["set"].eq("main")
        & records["task"].eq(task)
        & records["subgroup"].eq(subgroup)
        & records["group"].eq(group)
        & records["metric"].eq(metric)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_a_groups_figure_is_that_of_its_units_alone(records, in_groups):
    assert list(records.columns) == SUBGROUP_COLUMNS
    ga = in_groups[in_groups["task"].eq("ga")]
    not_north = ga["split"].eq("test") & ga["site"].ne("north")
    alone = evaluate_predictions(ga[~not_north], TASKS)
    expected = alone.query("level == 'exam' and set == 'main' and metric == 'mae'").iloc[0]
    found = figure(records, "ga", "site", "north", "mae")
    columns = ["value", "low", "high", "n", "n_patients"]
    assert found[columns].tolist() == pytest.approx(expected[columns].tolist())
    assert set(records.loc[records["task"].eq("ga"), "level"]) == {"exam"}
    assert set(records.loc[records["task"].eq("sweep"), "level"]) == {"clip"}


def test_the_threshold_is_that_of_all(records, in_groups):
    presentation = in_groups[in_groups["task"].eq("presentation")]
    whole = evaluate_predictions(presentation, TASKS)
    threshold = whole.query("set == 'main' and metric == 'threshold'")["value"].iloc[0]
    south = presentation.query("set == 'main' and split == 'test' and site == 'south'")
    chance = np.stack(south["probabilities"].tolist())[:, 1]
    expected = (chance[south["label"] == 1] >= threshold).mean()
    found = figure(records, "presentation", "site", "south", "sensitivity")
    assert found["value"] == pytest.approx(expected)


def test_groups_are_whole_and_in_order(records):
    of_ga = records.query("task == 'ga' and set == 'main' and metric == 'mae'")
    groups = of_ga.groupby("subgroup", sort=False)["group"].agg(list).to_dict()
    assert groups == {
        "site": ["north", "small", "south"],
        "bmi": ["<30 kg/m²", "≥30 kg/m²", "unknown"],
        "trimester": ["second", "third"],
        "sweeps_present": ["4 of 6", "5 of 6"],
    }
    assert (of_ga.groupby("subgroup")["n"].sum() == 120).all()


def test_few_patients_are_counted_and_not_judged(records):
    for metric in ("accuracy", "auc"):
        small = figure(records, "presentation", "site", "small", metric)
        assert small[["value", "low", "high"]].isna().all()
        assert small["interval"] == NOT_ESTIMABLE
        assert tuple(small[["n", "n_patients"]]) == (6, 3)
    assert figure(records, "presentation", "site", "small", "class_0")["n"] <= 6


def test_groups_begin_where_the_config_says(in_groups):
    config = SubgroupConfig(bmi_edges=(25, 29.95), min_patients=1)
    records = subgroup_records(in_groups[in_groups["task"].eq("ga")], TASKS, config=config)
    groups = set(records.query("subgroup == 'bmi'")["group"])
    assert groups == {"25 to 29.95 kg/m²", "≥29.95 kg/m²", "unknown"}
    assert not np.isnan(figure(records, "ga", "site", "small", "mae")["value"])
    for edges in ([], [30, 25]):
        with pytest.raises(ValidationError, match="in rising order"):
            SubgroupConfig(bmi_edges=edges)


@pytest.mark.parametrize(
    ("days", "groups"), [((97, 98), ["first", "second"]), ((195, 196), ["second", "third"])]
)
def test_trimesters_begin_on_their_day(in_groups, days, groups):
    ga = in_groups[in_groups["task"].eq("ga")]
    is_later = ga["site"].eq("north")
    records = subgroup_records(ga.assign(ga_days=np.where(is_later, days[1], days[0])), TASKS)
    by_age = records.query("subgroup == 'trimester' and metric == 'mae' and set == 'main'")
    by_site = records.query("subgroup == 'site' and metric == 'mae' and set == 'main'")
    north = by_site.set_index("group")["n"]["north"]
    assert by_age["group"].tolist() == groups
    assert by_age["n"].tolist() == [120 - north, north]


def test_what_is_all_one_group_is_left_out(predictions):
    records = subgroup_records(predictions, TASKS)
    assert set(records["subgroup"]) == {"trimester"}


def test_names_and_order_of_rows_change_nothing(in_groups, records):
    again = subgroup_records(in_groups.sample(frac=1, random_state=0), TASKS)
    key = ["task", "set", "subgroup", "group", "metric"]
    pd.testing.assert_frame_equal(
        again.sort_values(key, ignore_index=True), records.sort_values(key, ignore_index=True)
    )
