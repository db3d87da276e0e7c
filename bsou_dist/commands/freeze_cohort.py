"""A cohort frozen: one table, its version's hash, and the flow of exclusions that led to it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from bsou_dist import __version__
from bsou_dist.cohort.bad_cells import BadCell
from bsou_dist.cohort.column_map import load_column_map
from bsou_dist.cohort.columns import COLUMNS, OPTIONAL_SPLITS
from bsou_dist.cohort.exclusions import ExclusionFlow, FlowStep
from bsou_dist.cohort.frame_ranges import clip_names
from bsou_dist.cohort.table import (
    Cohort,
    cohort_fingerprint,
    column_fingerprint,
    read_cohort,
)
from bsou_dist.common.csv_cells import escaped_table
from bsou_dist.common.errors import InputError
from bsou_dist.common.files import check_outside
from bsou_dist.packing.outcome import PACKED, packing_outcome
from bsou_dist.report.exclusion_plot import flow_png
from bsou_dist.shards.pseudonyms import default_private_dir

TABLE_NAME = "cohort.csv"
VERSION_NAME = "version.json"
FLOW_NAME = "flow"
SET_ASIDE_NAME = "set_aside.csv"

NAMES_FOR_PEOPLE = {
    "cohort_sha256": "the clips and their labels",
    "column_map": "the column map",
    "column_map_sha256": "the column map",
    "sources_sha256": "the tables",
    "own_labels_sha256": "the label columns of tasks of one's own",
    "bsou_dist": "the version of bsou-dist",
}
"""What it means when a key of `version.json` differs."""


def freeze_cohort(
    path: Path,
    out: Path,
    *,
    column_map: str | None = None,
    root: Path | None = None,
    shards: Path | None = None,
    label_columns: Collection[str] = (),
    strict: bool = False,
) -> Cohort:
    """Read a cohort with its files, check it and write it to a new folder, all or nothing.

    `cohort.csv` reads back as the same cohort: the contract's columns, and of others those in
    `label_columns`. `version.json` says which cohort it is and what it was made of; `flow.csv`,
    `flow.md` and `flow.png` count what was left out, up to what was packed into `shards` if these
    are given; `set_aside.csv` lists the cells of a layout's tables that could not be used as they
    were, by file, line and column. The folder holds identities.

    Raises:
        InputError: the cohort or the shards are bad, or ``out`` is there and not this very version.
    """
    if path.is_dir():
        for corpus in (path, root or path):
            check_outside(corpus, out)
    cohort = read_cohort(
        path,
        column_map=column_map,
        root=root,
        check_files=True,
        label_columns=label_columns,
        strict=strict,
    )
    packing = _flow_of_packing(cohort.table, shards) if shards else ()
    flow = (*cohort.flow, *packing)
    version = _version_json(cohort, path, column_map)
    if out.exists():
        _check_same(out, version, flow)
        return cohort
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    escaped_table(cohort.table.drop(columns="line")).to_csv(unfinished / TABLE_NAME, index=False)
    (unfinished / VERSION_NAME).write_text(version, encoding="utf-8")
    (unfinished / f"{FLOW_NAME}.csv").write_text(_flow_csv(flow), encoding="utf-8")
    flow_md = _flow_md(flow) + _set_aside_md(cohort.set_aside)
    (unfinished / f"{FLOW_NAME}.md").write_text(flow_md, encoding="utf-8")
    if cohort.set_aside:
        _set_aside_table(cohort.set_aside).to_csv(unfinished / SET_ASIDE_NAME, index=False)
    (unfinished / f"{FLOW_NAME}.png").write_bytes(flow_png(cohort.flow, packing))
    unfinished.replace(out)
    return cohort


def _version_json(cohort: Cohort, path: Path, column_map: str | None) -> str:
    """Say which cohort this is and what it was made of: a table or folder at `path`."""
    counts = asdict(cohort.flow[-1])
    del counts["reason"]
    version: dict[str, Any] = {
        "cohort_sha256": cohort_fingerprint(cohort.table),
        "counts": counts,
        "column_map": Path(column_map).name if column_map else None,
        "column_map_sha256": load_column_map(column_map).fingerprint if column_map else None,
        "sources_sha256": {_name(file, path): _sha256(file) for file in cohort.files},
        "bsou_dist": __version__,
    }
    own_labels = [
        str(name) for name in cohort.table if name not in (*COLUMNS, *OPTIONAL_SPLITS, "line")
    ]
    if own_labels:
        version["own_labels_sha256"] = {
            name: column_fingerprint(cohort.table, name) for name in own_labels
        }
    return json.dumps(version, indent=2) + "\n"


def _flow_of_packing(table: pd.DataFrame, shards: Path) -> Sequence[FlowStep]:
    """Count what each reason of rejects left out of the shards, the most frequent first.

    Raises:
        InputError: `shards` were packed from another cohort, or hold nothing.
    """
    outcome_of_clip = packing_outcome(shards, default_private_dir(shards))
    outcome = clip_names(table).map(outcome_of_clip)
    if outcome.isna().all():
        raise InputError(
            f"no clip of the cohort was packed into {shards}; name the shards that were made of it"
        )
    flow = ExclusionFlow(table)
    reasons = outcome[outcome.ne(PACKED)].value_counts().index
    for reason in reasons:
        flow.leave_out(outcome.eq(reason)[flow.table.index], f"rejected when packed: {reason}")
    flow.leave_out(outcome.isna()[flow.table.index], "not among the clips that were packed")
    return flow.steps[1:]


def _check_same(out: Path, version: str, flow: Sequence[FlowStep]) -> None:
    """Check that a folder holds the version and flow that would be written.

    Raises:
        InputError: it holds another version, or no frozen cohort.
    """
    version_file = out / VERSION_NAME
    flow_file = out / f"{FLOW_NAME}.csv"
    if not (version_file.is_file() and flow_file.is_file()):
        raise InputError(f"{out} is there and holds no frozen cohort; name a new folder")
    version_there = version_file.read_text(encoding="utf-8")
    flow_there = flow_file.read_text(encoding="utf-8")
    if version_there == version and flow_there == _flow_csv(flow):
        return
    before = json.loads(version_there)
    now = json.loads(version)
    differing = [
        meaning for key, meaning in NAMES_FOR_PEOPLE.items() if before.get(key) != now.get(key)
    ]
    where = ", ".join(dict.fromkeys(differing)) or "the flow"
    raise InputError(
        f"{out} holds another version of the cohort (it differs in {where}); "
        "name a new folder for this one"
    )


def _flow_csv(flow: Sequence[FlowStep]) -> str:
    return escaped_table(pd.DataFrame(map(asdict, flow))).to_csv(index=False, lineterminator="\n")


def _flow_md(flow: Sequence[FlowStep]) -> str:
    lines = [
        "| step | patients | studies | exams | clips | clips left out |",
        "|---|---|---|---|---|---|",
    ]
    losses = [""]  # the first step leaves nothing out
    losses += [f"{before.clips - after.clips:,}" for before, after in pairwise(flow)]
    for step, clips_left_out in zip(flow, losses, strict=True):
        lines.append(
            f"| {step.reason} | {step.patients:,} | {step.studies:,} | {step.exams:,} | "
            f"{step.clips:,} | {clips_left_out} |"
        )
    return "\n".join(lines) + "\n"


def _set_aside_table(cells: Sequence[BadCell]) -> pd.DataFrame:
    """Where each cell stands, what would be accepted there, and what became of it."""
    columns = ["table", "line", "column", "accepted", "resolved"]
    rows = [[getattr(cell, name) for name in columns] for cell in cells]
    return pd.DataFrame(rows, columns=columns).sort_values(["table", "line", "column"])


def _set_aside_md(cells: Sequence[BadCell]) -> str:
    """Count the cells that could not be used as they were; nothing where there are none."""
    if not cells:
        return ""
    groups = _set_aside_table(cells).groupby(["table", "column", "resolved"])
    counts = groups.size().reset_index(name="cells")
    lines = ["", "| table | column | cells not as expected | which were |", "|---|---|---|---|"]
    for row in counts.to_dict("records"):
        lines.append(f"| {row['table']} | {row['column']} | {row['cells']:,} | {row['resolved']} |")
    return "\n".join(lines) + "\n"


def _name(file: Path, path: Path) -> str:
    """Name of a table in the record: without the folders above the corpus, which may move."""
    return file.relative_to(path).as_posix() if path.is_dir() else file.name


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
