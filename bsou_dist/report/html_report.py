"""One self-contained HTML file: the table, a figure per task, and the metadata a reader needs to
trust it.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import pandas as pd

from bsou_dist.common.files import write_text
from bsou_dist.evaluation.evaluate import labelled_units, scored
from bsou_dist.evaluation.metrics import confusion_matrix
from bsou_dist.report.method_table import PHANTOM_NOTICE, method_table
from bsou_dist.report.plots import confusion_png, regression_png
from bsou_dist.tasks import Task

_CSS = files("bsou_dist.report").joinpath("report.css").read_text(encoding="utf-8")


def write_report(
    records: pd.DataFrame,
    predictions: pd.DataFrame,
    path_html: Path,
    *,
    tasks: Mapping[str, Task],
    groups: Mapping[str, Sequence[str]],
    title: str,
    phantom: bool,
    metadata: Mapping[str, object],
    split: str = "test",
) -> None:
    """Write the report, whole or not at all. It loads nothing from outside the file.

    Args:
        records: records of ``evaluate_predictions`` with a column ``method``.
        predictions: the rows they come from, with a column ``method``.
        tasks, groups: as in ``method_table``.
        phantom: say at the top and under each table that phantom results support no clinical
            finding.
        metadata: what to state about the run (config, data fingerprint, code version, counts), in
            order.
        split: which split the figures show; that of the records.
    """
    notice = f'<p class="notice">{html.escape(PHANTOM_NOTICE)}</p>' if phantom else ""
    sections = [f"<h1>{html.escape(title)}</h1>", notice]
    for set_name in dict.fromkeys(records["set"]):
        table = method_table(
            records, tasks, groups, set_name=set_name, phantom=phantom, style="html"
        )
        sections += [
            f"<h2>Results, {html.escape(set_name)} set</h2>",
            f'<div class="scroll">{table}</div>',
        ]
    for task_name in dict.fromkeys(predictions["task"]):
        of_task = predictions[predictions["task"].eq(task_name)]
        figures = "".join(_figures(of_task, tasks, split))
        if figures:
            sections += [
                f"<h2>{html.escape(task_name)}</h2>",
                f'<div class="figures">{figures}</div>',
                _metrics_table(records[records["task"].eq(task_name)]),
            ]
    entries = "".join(
        f"<dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd>"
        for name, value in metadata.items()
    )
    sections += ["<h2>Facts</h2>", f"<dl>{entries}</dl>"]
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta '
        f'charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><style>{_CSS}</style></head>'
        f"<body>{''.join(sections)}</body></html>\n"
    )
    write_text(path_html, page)


def _figures(predictions: pd.DataFrame, tasks: Mapping[str, Task], split: str) -> Iterator[str]:
    """A figure per method, set and level of one task; a regression averaged over clips is shown per
    exam only.
    """
    for method, rows in predictions.groupby("method", sort=False):
        for task, set_name, level, units, _ in labelled_units(rows, tasks, split):
            values = scored(task, units)
            if task.kind == "classification":
                png = confusion_png(
                    confusion_matrix(values.label, values.prediction, len(task.classes)),
                    task.classes,
                )
            elif level == "exam":
                png = regression_png(values.label, values.prediction, str(task.unit))
            else:
                continue
            caption = (
                f"{set_name} set, {len(units)} {level}s of {units['patient'].nunique()} patients"
            )
            image = base64.b64encode(png).decode()
            yield (
                f"<figure><h3>{html.escape(str(method))}</h3><div "
                f'class="caption">{html.escape(caption)}</div>'
                f'<img alt="{html.escape(f"{task.name}, {method}, {caption}")}" '
                f'width="{_css_width(png)}" '
                f'src="data:image/png;base64,{image}"></figure>'
            )


def _metrics_table(records: pd.DataFrame) -> str:
    """Every metric of one task with its interval: a row per set, level and metric, a column per
    method.
    """
    methods = list(dict.fromkeys(records["method"]))
    head = "".join(
        f"<th>{html.escape(name)}</th>"
        for name in ("set", "level", "n", "metric", *map(str, methods))
    )
    body = []
    for (set_name, level, metric), rows in records.groupby(["set", "level", "metric"], sort=False):
        cells = [str(set_name), str(level), ", ".join(map(str, rows["n"].unique())), str(metric)]
        for method in methods:
            of_method = rows[rows["method"].eq(method)].itertuples()
            cells.append(
                ", ".join(f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in of_method)
            )
        body.append(
            "<tr>" + "".join(f"<td>{html.escape(cell) or '–'}</td>" for cell in cells) + "</tr>"
        )
    return (
        "<details><summary>All metrics with 95 % intervals</summary>"
        '<div class="scroll"><table '
        f'class="metrics"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody>'
        "</table></div></details>"
    )


def _css_width(png: bytes) -> int:
    """Width in CSS pixels of a PNG drawn at 1.5 times the screen's resolution: its header holds the
    pixel count.
    """
    return int.from_bytes(png[16:20], "big") * 2 // 3
