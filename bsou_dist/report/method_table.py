"""The table of methods by tasks, in the layout of [P1]'s Table 2, as text, Markdown or HTML.

[P1] is the paper *Improved Representation Learning with Multitasking in Blind Sweep Obstetric
Ultrasound Videos*.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation.kinds.make import evaluation_of
from bsou_dist.report.kinds.make import legend_of, report_of
from bsou_dist.report.recorded import ABSENT, Cell, Recorded, interval_text, references_of
from bsou_dist.tasks.task import Task
from bsou_dist.tasks.task_set import table_groups

PHANTOM_NOTICE = (
    "Phantom results test software and controlled failure modes; they support no clinical finding."
)
LEGEND = (
    "In brackets: 95 % interval of the first figure; n.e.: not estimable. n: clips or exams / "
    "patients, and those of the class that is looked for."
)
METHOD_ORDER = ("stsl", "ucon", "mtce", "mtscon")
"""Rows of [P1]'s Table 2, in lower case; other methods follow in the order of the records."""

_FOOTER_WIDTH = 110

Style = Literal["text", "markdown", "html"]


@dataclass(frozen=True)
class MethodTable:
    """Headings over columns, column names, and rows of cells, to be written in three styles."""

    groups: Mapping[str, int]
    """Number of columns under each heading."""
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Cell]]
    """A cell per column, by the row's label."""
    footer: Sequence[str]
    corner: str = "method"
    """What the labels of rows are."""

    def format(self, style: Style) -> str:
        """Write the table in one style."""
        formats = {"text": self._text, "markdown": self._markdown, "html": self._html}
        return formats[style]()

    def _text(self) -> str:
        label_width = max(len(label) for label in (self.corner, *self.rows))
        widths = [self._column_width(index) for index in range(len(self.columns))]

        def line(label: str, texts: Sequence[str]) -> str:
            padded = [text.ljust(width) for text, width in zip(texts, widths, strict=True)]
            return "  ".join([label.ljust(label_width), *padded])

        headings = " " * label_width
        first = 0
        for heading, span in self.groups.items():
            width = sum(widths[first : first + span]) + 2 * (span - 1)
            headings += "  " + heading.ljust(width)
            first += span
        names = line(self.corner, self.columns)
        rule = "-" * len(names)
        lines = [headings, names, rule]
        for label, cells in self.rows.items():
            height = max(len(cell) for cell in cells)
            for depth in range(height):
                texts = [cell[depth] if depth < len(cell) else "" for cell in cells]
                lines.append(line(label if depth == 0 else "", texts))
        footer = [textwrap.fill(text, _FOOTER_WIDTH) for text in self.footer]
        return "\n".join(text.rstrip() for text in [*lines, rule, *footer])

    def _column_width(self, index: int) -> int:
        lengths = [len(self.columns[index])]
        for cells in self.rows.values():
            lengths += [len(text) for text in cells[index]]
        return max(lengths)

    def _markdown(self) -> str:
        groups = [heading for heading, span in self.groups.items() for _ in range(span)]
        names = [
            f"{group}: {column}" if group else column
            for group, column in zip(groups, self.columns, strict=True)
        ]
        lines = [f"| {self.corner} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for label, cells in self.rows.items():
            texts = ["<br>".join(cell) for cell in cells]
            lines.append(f"| {label} | {' | '.join(texts)} |")
        footer = [f"{text}\n" for text in self.footer]
        return "\n".join([*lines, "", *footer]).rstrip()

    def _html(self) -> str:
        spans = "".join(
            f'<th colspan="{span}">{html.escape(heading)}</th>'
            for heading, span in self.groups.items()
        )
        names = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = ""
        for label, cells in self.rows.items():
            data = "".join(f"<td>{_html_cell(cell)}</td>" for cell in cells)
            body += f'<tr><th scope="row">{html.escape(label)}</th>{data}</tr>'
        footer = "".join(f"<p>{html.escape(text)}</p>" for text in self.footer)
        return (
            f'<table class="methods"><thead><tr><td></td>{spans}</tr>'
            f"<tr><th>{html.escape(self.corner)}</th>{names}</tr></thead>"
            f'<tbody>{body}</tbody></table><div class="footer">{footer}</div>'
        )


def method_table(
    records: pd.DataFrame,
    tasks: Mapping[str, Task],
    *,
    set_name: str = "main",
    phantom: bool = False,
    style: Style = "text",
) -> str:
    """Write methods by tasks, and below them those that see no picture.

    Every task that has a record has a column, under the heading of its group.

    Args:
        records: records of `evaluate_predictions` with a column `method`. What was evaluated per
            clip and per exam is shown per exam.
        tasks: the tasks by name.
        set_name: which set of patients: main, obese, handheld.
        phantom: print under the table that phantom results support no clinical finding.
        style: text for a terminal, Markdown or HTML.

    Raises:
        InputError: no record of that set, or records of a task that is not among `tasks`.
    """
    chosen, shown = chosen_records(records, tasks, set_name)
    groups = table_groups(shown)
    rows: dict[str, list[Cell]] = {}
    for method in methods_in_order(chosen):
        of_method = chosen[chosen["method"].eq(method)]
        rows[method] = [_cell(of_method, task) for task in shown]
    for prefix, name in references_of(chosen).items():
        rows[name] = [_cell(chosen, task, prefix) for task in shown]
    table = MethodTable(
        groups={heading: len(names) for heading, names in groups.items()},
        columns=[report_of(task).heading(task) for task in shown],
        rows=rows,
        footer=[legend_of(shown), LEGEND, *([PHANTOM_NOTICE] if phantom else [])],
    )
    return table.format(style)


def chosen_records(
    records: pd.DataFrame, tasks: Mapping[str, Task], set_name: str
) -> tuple[pd.DataFrame, list[Task]]:
    """Records of one set of patients, and every task that has a record, in the order of tables.

    Raises:
        InputError: as `method_table`.
    """
    chosen = records[records["set"].eq(set_name)]
    if chosen.empty:
        found = ", ".join(sorted(records["set"].unique())) or "no set"
        raise InputError(f"no results for set {set_name!r}; there are results for {found}")
    recorded = set(records["task"])
    unknown = sorted(recorded - set(tasks))
    if unknown:
        raise InputError(f"results of unknown tasks {unknown}; known are {', '.join(tasks)}")
    groups = table_groups(task for name, task in tasks.items() if name in recorded)
    return chosen, [tasks[name] for names in groups.values() for name in names]


def methods_in_order(records: pd.DataFrame) -> list[str]:
    """Methods as tables list them."""
    return sorted(dict.fromkeys(records["method"]), key=_place)


def _place(method: str) -> int:
    name = method.lower()
    return METHOD_ORDER.index(name) if name in METHOD_ORDER else len(METHOD_ORDER)


def _cell(records: pd.DataFrame, task: Task, prefix: str = "") -> Cell:
    """Both primary figures, the interval of the first, and how many units they rest on."""
    recorded = Recorded.find(records, task.name, prefix)
    first, second = (recorded.figure(metric) for metric in evaluation_of(task).primary)
    if first is None or second is None:
        return (ABSENT,)

    def text(value: float) -> str:
        return report_of(task).figure(task, value)

    return (
        f"{text(first.value)}/{text(second.value)}",
        interval_text(first, text),
        f"n {first.n}/{first.n_patients}",
        *report_of(task).counts(task, recorded),
    )


def _html_cell(cell: Cell) -> str:
    figures, *rest = (html.escape(text) for text in cell)
    return f"<b>{figures}</b>" + "".join(f"<br><small>{text}</small>" for text in rest)
