"""One self-contained HTML file: the table, a figure per task, and the metadata a reader needs to
trust it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import pandas as pd

from bsou_dist.common.files import write_text
from bsou_dist.evaluation.evaluate import labelled_units, scored
from bsou_dist.evaluation.intervals import NOT_ESTIMABLE
from bsou_dist.report.checklists import checklist_html
from bsou_dist.report.detail_table import detail_tables
from bsou_dist.report.kinds.make import report_of
from bsou_dist.report.method_table import PHANTOM_NOTICE, method_table
from bsou_dist.report.pictures import figure_html
from bsou_dist.report.subgroup_section import subgroup_section
from bsou_dist.tasks.task import Task

_CSS = files("bsou_dist.report").joinpath("report.css").read_text(encoding="utf-8")


def write_report(
    records: pd.DataFrame,
    predictions: pd.DataFrame,
    path_html: Path,
    *,
    tasks: Mapping[str, Task],
    title: str,
    phantom: bool,
    metadata: Mapping[str, object],
    split: str = "test",
    subgroups: pd.DataFrame | None = None,
) -> None:
    """Write the report, whole or not at all. It loads nothing from outside the file.

    Args:
        records: records of `evaluate_predictions` with a column `method`.
        predictions: the rows they come from, with a column `method`.
        path_html: where the report goes.
        tasks: as in `method_table`.
        title: of the page.
        phantom: say at the top and under each table that phantom results support no clinical
            finding.
        metadata: what to state about the run (config, data fingerprint, code version, counts), in
            order.
        split: which split the figures show; that of the records.
        subgroups: records of `subgroup_records` with a column `method`.
    """
    sections = [f"<h1>{html.escape(title)}</h1>"]
    if phantom:
        sections.append(f'<p class="notice">{html.escape(PHANTOM_NOTICE)}</p>')
    for set_name in dict.fromkeys(records["set"]):
        table = method_table(records, tasks, set_name=set_name, phantom=phantom, style="html")
        sections.append(f"<h2>Results, {html.escape(set_name)} set</h2>")
        details = detail_tables(records, tasks, set_name=set_name, phantom=phantom, style="html")
        sections += [f'<div class="scroll">{part}</div>' for part in (table, *details)]
    for task_name in dict.fromkeys(predictions["task"]):
        of_task = predictions[predictions["task"].eq(task_name)]
        figures = "".join(_figures(of_task, tasks, split))
        if subgroups is not None:
            figures += subgroup_section(subgroups, records, tasks[str(task_name)])
        if figures:
            sections.append(f"<h2>{html.escape(task_name)}</h2>")
            sections.append(f'<div class="figures">{figures}</div>')
            sections.append(_metrics_table(records[records["task"].eq(task_name)]))
    entries = "".join(
        f"<dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd>"
        for name, value in metadata.items()
    )
    sections += [f"<h2>Facts</h2><dl>{entries}</dl>", checklist_html()]
    head = (
        f'<meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_CSS}</style>"
    )
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>'
        f"<body>{''.join(sections)}</body></html>\n"
    )
    write_text(path_html, page)


def _figures(predictions: pd.DataFrame, tasks: Mapping[str, Task], split: str) -> Iterator[str]:
    """Draw a figure per method, set and level of one task, where its kind has one."""
    for method, rows in predictions.groupby("method", sort=False):
        for units in labelled_units(rows, tasks, split):
            patients = units.rows["patient"].nunique()
            counted = (
                f"{units.set_name} set, {len(units.rows)} {units.level}s of {patients} patients"
            )
            pictures = report_of(units.task).plots(units.task, scored(units), units.level)
            for shown, png in pictures.items():
                caption = f"{counted}: {shown}"
                yield figure_html(png, str(method), caption, units.task.name)


def _metrics_table(records: pd.DataFrame) -> str:
    """Write every metric of one task with its interval.

    A row per set, level and metric, a column per method.
    """
    methods = list(dict.fromkeys(records["method"]))
    columns = ["set", "level", "n", "metric", *map(str, methods)]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = ""
    for (set_name, level, metric), rows in records.groupby(["set", "level", "metric"], sort=False):
        counts = ", ".join(map(str, rows["n"].unique()))
        cells = [str(set_name), str(level), counts, str(metric)]
        for method in methods:
            of_method = rows.loc[rows["method"].eq(method), ["value", "low", "high"]]
            values = [_with_interval(*numbers) for numbers in of_method.to_numpy(float)]
            cells.append(", ".join(values))
        data = "".join(f"<td>{html.escape(cell) or '–'}</td>" for cell in cells)
        body += f"<tr>{data}</tr>"
    table = f'<table class="metrics"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return (
        "<details><summary>All metrics with 95 % intervals</summary>"
        f'<div class="scroll">{table}</div></details>'
    )


def _with_interval(value: float, low: float, high: float) -> str:
    interval = NOT_ESTIMABLE if math.isnan(low) else f"[{low:.3f}, {high:.3f}]"
    return f"{value:.3f} {interval}"
