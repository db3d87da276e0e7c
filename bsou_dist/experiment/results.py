"""From the predictions of a run to its records, table and report."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pandas as pd

from bsou_dist.common.files import write_text
from bsou_dist.evaluation.evaluate import evaluate_predictions
from bsou_dist.experiment.config import PatientSet, RunConfig
from bsou_dist.experiment.finetune import PREDICTIONS, finetune_jobs
from bsou_dist.experiment.record import method_title
from bsou_dist.predict.prediction_table import read_predictions, write_predictions
from bsou_dist.report.html_report import write_report
from bsou_dist.report.method_table import Style, method_table
from bsou_dist.tasks import TASKS
from bsou_dist.tracking.mlflow_store import local_uri
from bsou_dist.tracking.tracker import code_version

GROUPS = {
    "In-domain tasks": ("ga", "presentation", "placenta", "sweep"),
    "Out-of-domain tasks": ("dvp", "multiple"),
}
"""Columns of [P1] Table 2."""


def compare(uri: str | None, output: Path, experiment: str) -> str:
    """The tables of an experiment from the tracker alone: methods by tasks, one for each set of
    patients.
    """
    from bsou_dist.tracking.compare import read_records  # takes seconds to import MLflow

    records = read_records(uri or local_uri(output), experiment)
    notes = [f"note: {note}" for note in records.attrs["notes"]]
    return "\n".join([_tables(records, phantom=records.attrs["phantom"]), *notes])


def _tables(records: pd.DataFrame, *, phantom: bool, style: Style = "text") -> str:
    """A table for each set of patients, the main one first."""
    tables = {
        name: method_table(records, TASKS, GROUPS, set_name=name, phantom=phantom, style=style)
        for name in get_args(PatientSet)
        if records["set"].eq(name).any()
    }
    return "\n\n".join(
        f"Patients: {name}\n{table}" if style == "text" else f"## Patients: {name}\n\n{table}"
        for name, table in tables.items()
    )


def write_results(config: RunConfig, data_fingerprint: str) -> str:
    """Gather the predictions of a run and evaluate them; the table.

    Leaves `predictions.parquet`, `records.csv`, `table.txt`, `table.md` and `report.html` in the
    run's folder.
    """
    method = method_title(config)
    predictions = pd.concat(
        [read_predictions(job.folder(config) / PREDICTIONS) for job in finetune_jobs(config)],
        ignore_index=True,
    )
    write_predictions(predictions, config.folder / "predictions.parquet")
    records = evaluate_predictions(predictions, TASKS, seed=config.seed).assign(method=method)
    write_text(config.folder / "records.csv", records.to_csv(index=False))
    phantom = config.data.phantom
    table = _tables(records, phantom=phantom)
    write_text(config.folder / "table.txt", table + "\n")
    write_text(
        config.folder / "table.md", _tables(records, phantom=phantom, style="markdown") + "\n"
    )
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
        tasks=TASKS,
        groups=GROUPS,
        title=f"{config.name}: {method}",
        phantom=phantom,
        metadata=metadata,
    )
    return table
