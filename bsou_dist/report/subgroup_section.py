"""What a report says of subgroups: for each task a picture and a table."""

from __future__ import annotations

import html

import pandas as pd

from bsou_dist.evaluation.intervals import NOT_ESTIMABLE
from bsou_dist.evaluation.kinds.make import evaluation_of
from bsou_dist.report.forest_plot import Panel, forest_png
from bsou_dist.report.kinds.make import report_of
from bsou_dist.report.pictures import figure_html
from bsou_dist.tasks.task import Task

DRAWN = 2
"""So many metrics of a task are drawn; the table has all."""


def subgroup_section(subgroups: pd.DataFrame, records: pd.DataFrame, task: Task) -> str:
    """Write one task's subgroups as HTML; nothing where it has none.

    Args:
        subgroups: records of `subgroup_records` with a column `method`.
        records: those of `evaluate_predictions`, with the figures of all units.
        task: which task.
    """
    of_task = subgroups[subgroups["task"].eq(task.name)]
    parts = []
    for names_of_set, rows in of_task.groupby(["set", "method"], sort=False):
        set_name, method = map(str, names_of_set)
        of_all = records[
            records["task"].eq(task.name)
            & records["set"].eq(set_name)
            & records["method"].eq(method)
            & records["level"].eq(rows["level"].iloc[0])
        ].set_index("metric")["value"]
        present = set(rows["metric"])
        names = [name for name in evaluation_of(task).subgroup_metrics(task) if name in present]
        panels = [
            Panel(
                title=report_of(task).metric_name(task, name),
                rows=rows[rows["metric"].eq(name)],
                overall=float(of_all.get(name, float("nan"))),
            )
            for name in names[:DRAWN]
        ]
        caption = f"{set_name} set, by subgroup: {rows['level'].iloc[0]}s/patients"
        drawn = ""
        if any(panel.rows["value"].notna().any() for panel in panels):
            drawn = figure_html(forest_png(panels), method, caption, task.name)
        parts.append(f"<div>{drawn}{_table(rows, task, names, set_name)}</div>")
    return "".join(parts)


def _table(rows: pd.DataFrame, task: Task, names: list[str], set_name: str) -> str:
    """A row per group, a column per metric."""
    headings = ["", "n/patients", *(report_of(task).metric_name(task, name) for name in names)]
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = ""
    for (subgroup, group), of_group in rows.groupby(["subgroup", "group"], sort=False):
        by_metric = {row.metric: row for row in of_group.itertuples()}
        first = by_metric[names[0]]
        cells = [f"{subgroup}: {group}", f"{first.n}/{first.n_patients}"]
        cells += [_cell(by_metric[name]) for name in names]
        body += "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
    table = f'<table class="metrics"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return (
        f"<details><summary>Subgroups of the {html.escape(set_name)} set with 95 % intervals"
        "</summary>"
        f'<div class="scroll">{table}</div></details>'
    )


def _cell(record: object) -> str:
    value, low, high = (getattr(record, name) for name in ("value", "low", "high"))
    if pd.isna(value):
        return NOT_ESTIMABLE
    interval = NOT_ESTIMABLE if pd.isna(low) else f"[{low:.2f}, {high:.2f}]"
    return f"{value:.2f} {interval}"
