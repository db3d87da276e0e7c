"""From the predictions of a run to its records, table and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from bsou_dist.common.csv_cells import escaped_table
from bsou_dist.common.errors import InputError
from bsou_dist.common.files import write_text
from bsou_dist.evaluation.evaluate import evaluate_predictions
from bsou_dist.evaluation.power import power_table
from bsou_dist.evaluation.reference import INTENSITY_ONLY
from bsou_dist.evaluation.subgroups import subgroup_records
from bsou_dist.experiment.config import PatientSet, RunConfig
from bsou_dist.experiment.finetune import INTENSITY_PREDICTIONS, PREDICTIONS, finetune_jobs
from bsou_dist.experiment.record import Stage1Run, method_title, read_run, stage1_of
from bsou_dist.predict.prediction_table import read_predictions, write_predictions
from bsou_dist.report.detail_table import detail_tables
from bsou_dist.report.html_report import write_report
from bsou_dist.report.method_table import Style, method_table
from bsou_dist.tasks.task import Task
from bsou_dist.tracking.mlflow_store import local_uri
from bsou_dist.tracking.tracker import code_version

POWER_LEGEND = (
    "smallest_80: smallest difference that the patients at hand show with 80 % power, in the",
    "metric's unit; patients_80: patients for the difference asked for. One exam per patient,",
    "two-sided at 5 %. from assumed: a rival as good that errs independently, so rather too many.",
)


def compare(uri: str | None, output: Path, experiment: str) -> str:
    """Write the tables of an experiment from the tracker alone, one for each set of patients."""
    from bsou_dist.tracking.compare import read_results  # takes seconds to import MLflow

    results = read_results(uri or local_uri(output), experiment)
    tables = _tables(results.records, results.tasks, phantom=results.phantom)
    notes = [f"note: {note}" for note in results.notes]
    return "\n".join([tables, *notes])


def _tables(
    records: pd.DataFrame, tasks: Mapping[str, Task], *, phantom: bool, style: Style = "text"
) -> str:
    """Write a table for each set of patients, the main one first."""
    tables = []
    for name in get_args(PatientSet):
        if not records["set"].eq(name).any():
            continue
        of_set: dict[str, Any] = {"set_name": name, "phantom": phantom, "style": style}
        table = method_table(records, tasks, **of_set)
        heading = f"Patients: {name}\n" if style == "text" else f"## Patients: {name}\n\n"
        tables += [heading + table, *detail_tables(records, tasks, **of_set)]
    return "\n\n".join(tables)


def write_results(config: RunConfig, stage1: Stage1Run | None, data_fingerprint: str) -> str:
    """Gather the predictions of a run and evaluate them; the table.

    Leaves `predictions.parquet`, `records.csv`, `subgroups.csv`, `table.txt`, `table.md` and
    `report.html` in the run's folder.
    """
    method = method_title(config, stage1)
    tasks = config.used_tasks
    phantom = config.data.phantom
    jobs = finetune_jobs(config, stage1)
    parts = [read_predictions(job.folder / PREDICTIONS) for job in jobs]
    predictions = pd.concat(parts, ignore_index=True)
    write_predictions(predictions, config.folder / "predictions.parquet")
    references = _references([job.folder for job in jobs])
    records = evaluate_predictions(predictions, tasks, references=references)
    records = records.assign(method=method)
    write_text(config.folder / "records.csv", escaped_table(records).to_csv(index=False))
    subgroups = subgroup_records(predictions, tasks, config=config.subgroups).assign(method=method)
    write_text(config.folder / "subgroups.csv", escaped_table(subgroups).to_csv(index=False))
    table = _tables(records, tasks, phantom=phantom)
    write_text(config.folder / "table.txt", table + "\n")
    markdown = _tables(records, tasks, phantom=phantom, style="markdown")
    write_text(config.folder / "table.md", markdown + "\n")
    metadata = {
        "run": config.name,
        "seed": config.seed,
        "encoder": config.encoder.name,
        "norm": config.encoder.norm,
        "method": method,
        "clips": f"{config.feed.frames} frames of {config.feed.size_px} px",
        "data": data_fingerprint,
        "code": code_version(),
    }
    write_report(
        records,
        predictions.assign(method=method),
        config.folder / "report.html",
        tasks=tasks,
        title=f"{config.name}: {method}",
        phantom=phantom,
        metadata=metadata,
        subgroups=subgroups,
    )
    return table


def _references(folders: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """What the jobs of these folders predicted without a network, by prefix of its records."""
    paths = [folder / INTENSITY_PREDICTIONS for folder in folders]
    parts = [read_predictions(path) for path in paths if path.is_file()]
    return {INTENSITY_ONLY: pd.concat(parts, ignore_index=True)} if parts else {}


def plan_power(folders: Sequence[Path], *, task: str | None, difference: float | None) -> str:
    """Write how many patients comparisons need, by the test predictions of runs.

    Several runs of one method are its seeds.

    Args:
        folders: of finished runs.
        task: plan for this task alone.
        difference: the difference to find, in a metric's unit.

    Raises:
        InputError: not a finished run, an unknown task, or nothing to plan by.
    """
    parts = []
    tasks: dict[str, Task] = {}
    for place, folder in enumerate(folders):
        config = read_run(folder)
        stage1 = stage1_of(config)
        rows = read_predictions(folder / PREDICTIONS)
        method = method_title(config, stage1)
        parts.append(rows.assign(method=method, seed=place))
        tasks |= config.used_tasks
    predictions = pd.concat(parts, ignore_index=True)
    if task is not None:
        known = ", ".join(predictions["task"].unique())
        predictions = predictions[predictions["task"].eq(task)]
        if predictions.empty:
            raise InputError(f"no predictions of task {task!r}; there are those of {known}")
    table = power_table(predictions, tasks, difference=difference)
    return "\n".join([table.to_string(index=False, float_format="{:.3g}".format), *POWER_LEGEND])
