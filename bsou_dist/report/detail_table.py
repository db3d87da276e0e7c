"""What stands behind the two figures of a cell: tables for each kind of task.

For classes, one of which may be rare, what is found of it at a threshold that validation exams
fixed, and what probabilities are worth; for numbers their bias and how many are near enough. A
model that beats the majority's accuracy by finding nothing shows here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from bsou_dist.report.kinds.make import report_of
from bsou_dist.report.method_table import (
    PHANTOM_NOTICE,
    MethodTable,
    Style,
    chosen_records,
    methods_in_order,
)
from bsou_dist.report.recorded import ABSENT, Cell, Recorded, references_of
from bsou_dist.tasks.task import Task


def detail_tables(
    records: pd.DataFrame,
    tasks: Mapping[str, Task],
    *,
    set_name: str = "main",
    phantom: bool = False,
    style: Style = "text",
) -> list[str]:
    """Write the tables of details, a row for each task and method; arguments as `method_table`.

    A task without figures of a table has no row in it, and a table without rows is left out.
    """
    chosen, shown = chosen_records(records, tasks, set_name)
    legends: dict[str, str] = {}
    rows: dict[str, dict[str, dict[str, Cell]]] = {}
    for task in shown:
        report = report_of(task)
        legends |= report.details_legends
        for method, recorded in _recorded(chosen, task):
            for heading, cells in report.details(task, recorded).items():
                if _says_something(cells):
                    rows.setdefault(heading, {})[f"{task.name}, {method}"] = cells
    notice = [PHANTOM_NOTICE] if phantom else []
    return [
        _table(heading, rows[heading], [legend, *notice]).format(style)
        for heading, legend in legends.items()
        if heading in rows
    ]


def _recorded(records: pd.DataFrame, task: Task) -> Iterator[tuple[str, Recorded]]:
    """Give the records of each method on a task, and last those of who sees no picture."""
    for method in methods_in_order(records):
        yield method, Recorded.find(records[records["method"].eq(method)], task.name)
    for prefix, name in references_of(records).items():
        yield name, Recorded.find(records, task.name, prefix)


def _table(heading: str, rows: Mapping[str, dict[str, Cell]], footer: list[str]) -> MethodTable:
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    return MethodTable(
        groups={heading: len(columns)},
        columns=columns,
        rows={
            label: [cells.get(column, (ABSENT,)) for column in columns]
            for label, cells in rows.items()
        },
        footer=footer,
        corner="task, method",
    )


def _says_something(cells: Mapping[str, Cell]) -> bool:
    return any(cell != (ABSENT,) for cell in cells.values())
