"""The table of methods by tasks, in the layout of the paper's Table 2, as text, Markdown or
HTML.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation.evaluate import primary_metrics
from bsou_dist.tasks import Task

PHANTOM_NOTICE = (
    "Phantom results test software and controlled failure modes; they support no clinical finding."
)
LEGEND = (
    "Classes: accuracy / macro-F1 in %. Values: mean absolute error / standard deviation of the "
    "absolute error.",
    "In brackets: 95 % interval of the first figure. n: clips or exams.",
)
METHOD_ORDER = ("stsl", "ucon", "mtce", "mtscon")
"""Rows of the paper's Table 2, in lower case; other methods follow in the order of the records."""
BASELINE = "majority / mean"

Style = Literal["text", "markdown", "html"]
Cell = tuple[str, ...]
"""Lines of one cell."""


@dataclass(frozen=True)
class MethodTable:
    """Headings over columns, column names, and rows of cells; ``format`` turns it into one of three
    styles.
    """

    groups: tuple[tuple[str, int], ...]  # heading, number of columns under it
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    footer: tuple[str, ...]

    def format(self, style: Style) -> str:
        """The table in one style."""
        return {"text": self._text, "markdown": self._markdown, "html": self._html}[style]()

    def _text(self) -> str:
        label_width = max(len(label) for label in ("method", *(label for label, _ in self.rows)))
        widths = [
            max([len(name), *(len(line) for _, cells in self.rows for line in cells[index])])
            for index, name in enumerate(self.columns)
        ]
        lines, start = [" " * label_width], 0
        for heading, span in self.groups:
            lines[0] += "  " + heading.ljust(sum(widths[start : start + span]) + 2 * (span - 1))
            start += span
        lines.append(
            "  ".join(["method".ljust(label_width), *map(str.ljust, self.columns, widths)])
        )
        rule = "-" * len(lines[1])
        lines.append(rule)
        for label, cells in self.rows:
            for depth in range(max(map(len, cells))):
                texts = [cell[depth] if depth < len(cell) else "" for cell in cells]
                lines.append(
                    "  ".join(
                        [
                            (label if depth == 0 else "").ljust(label_width),
                            *map(str.ljust, texts, widths),
                        ]
                    )
                )
        return "\n".join(line.rstrip() for line in [*lines, rule, *self.footer])

    def _markdown(self) -> str:
        headings = [
            f"{heading}: {name}" if heading else name
            for heading, name in zip(
                (heading for heading, span in self.groups for _ in range(span)),
                self.columns,
                strict=True,
            )
        ]
        lines = [f"| method | {' | '.join(headings)} |", "|---" * (len(headings) + 1) + "|"]
        lines += [
            f"| {label} | {' | '.join('<br>'.join(cell) for cell in cells)} |"
            for label, cells in self.rows
        ]
        return "\n".join([*lines, "", *(f"{line}\n" for line in self.footer)]).rstrip()

    def _html(self) -> str:
        spans = "".join(
            f'<th colspan="{span}">{html.escape(heading)}</th>' for heading, span in self.groups
        )
        names = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            f'<tr><th scope="row">{html.escape(label)}</th>'
            + "".join(f"<td>{_html_cell(cell)}</td>" for cell in cells)
            + "</tr>"
            for label, cells in self.rows
        )
        footer = "".join(f"<p>{html.escape(line)}</p>" for line in self.footer)
        return (
            f'<table class="methods"><thead><tr><td></td>{spans}</tr>'
            f"<tr><th>method</th>{names}</tr></thead>"
            f'<tbody>{body}</tbody></table><div class="footer">{footer}</div>'
        )


def method_table(
    records: pd.DataFrame,
    tasks: Mapping[str, Task],
    groups: Mapping[str, Sequence[str]],
    *,
    set_name: str = "main",
    phantom: bool = False,
    style: Style = "text",
) -> str:
    """Methods by tasks, with the majority or mean predictor as the last row.

    Args:
        records: records of ``evaluate_predictions`` with a column ``method``. A regression
            evaluated at both levels is shown at exam level.
        tasks: the tasks by name.
        groups: heading -> names of the tasks under it, in order, such as 'In-domain' and
            'Out-of-domain'.
        set_name: which set of patients: main, obese, handheld.
        phantom: print under the table that phantom results support no clinical finding.

    Raises:
        InputError: no record of that set, or a heading names an unknown task.
    """
    chosen = records[records["set"].eq(set_name)]
    if chosen.empty:
        raise InputError(
            f"no results for set {set_name!r}; there are results for "
            f"{', '.join(sorted(records['set'].unique())) or 'no set'}"
        )
    unknown = sorted({name for names in groups.values() for name in names} - set(tasks))
    if unknown:
        raise InputError(
            f"the table's columns name unknown tasks {unknown}; known are {', '.join(tasks)}"
        )
    shown = [tasks[name] for names in groups.values() for name in names]
    methods = sorted(dict.fromkeys(chosen["method"]), key=_place)
    rows = [
        (method, tuple(_cell(chosen[chosen["method"].eq(method)], task) for task in shown))
        for method in methods
    ]
    rows.append((BASELINE, tuple(_cell(chosen, task, "baseline_") for task in shown)))
    return MethodTable(
        tuple((heading, len(names)) for heading, names in groups.items() if names),
        tuple(_heading(task) for task in shown),
        tuple(rows),
        (*LEGEND, *([PHANTOM_NOTICE] if phantom else [])),
    ).format(style)


def _place(method: str) -> int:
    name = method.lower()
    return METHOD_ORDER.index(name) if name in METHOD_ORDER else len(METHOD_ORDER)


def _heading(task: Task) -> str:
    return f"{task.name} (%) ↑" if task.kind == "classification" else f"{task.name} ({task.unit}) ↓"


def _cell(records: pd.DataFrame, task: Task, prefix: str = "") -> Cell:
    """Both primary figures, the interval of the first, and n; of the first method that has them."""
    of_task = records[records["task"].eq(task.name)]
    if of_task["level"].eq("exam").any():
        of_task = of_task[of_task["level"].eq("exam")]
    first, second = (of_task[of_task["metric"].eq(prefix + name)] for name in primary_metrics(task))
    if first.empty or second.empty:
        return ("–",)
    record, other = first.iloc[0], second.iloc[0]
    scale, digits = (
        (100, 1) if task.kind == "classification" else (1, 1 if task.unit == "days" else 2)
    )
    value, low, high, beside = (
        f"{scale * figure:.{digits}f}"
        for figure in (record["value"], record["low"], record["high"], other["value"])
    )
    return f"{value}/{beside}", f"[{low}, {high}]", f"n {record['n']}"


def _html_cell(cell: Cell) -> str:
    figures, *rest = map(html.escape, cell)
    return f"<b>{figures}</b>" + "".join(f"<br><small>{line}</small>" for line in rest)
