"""A cohort frozen: one table, the hash that names its version, and the flow of exclusions that led
to it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pandas as pd

from bsou_dist import __version__
from bsou_dist.cohort.column_map import load_column_map
from bsou_dist.cohort.exclusions import ExclusionFlow, FlowStep
from bsou_dist.cohort.table import Cohort, cohort_fingerprint, read_cohort
from bsou_dist.common.errors import InputError
from bsou_dist.common.files import check_outside
from bsou_dist.packing.outcome import PACKED, packing_outcome
from bsou_dist.report.exclusion_plot import flow_png
from bsou_dist.shards.pseudonyms import default_private_dir

TABLE_NAME, VERSION_NAME, FLOW_NAME = "cohort.csv", "version.json", "flow"

_VERSION_OF = {
    "cohort_sha256": "the clips and their labels",
    "column_map": "the column map",
    "column_map_sha256": "the column map",
    "sources_sha256": "the tables",
    "bsou_dist": "the version of bsou-dist",
}


def freeze_cohort(
    path: Path,
    out: Path,
    *,
    column_map: str | None = None,
    root: Path | None = None,
    shards: Path | None = None,
) -> Cohort:
    """Read a cohort with its files, check it and write it to a new folder, all or nothing.

    ``cohort.csv`` (the contract's columns) reads back as the same cohort; ``version.json`` says
    which it is and what it was made of; ``flow.csv``, ``flow.md`` and ``flow.png`` count what was
    left out, up to what was packed into ``shards`` if these are given. The folder holds identities.

    Raises:
        InputError: the cohort or the shards are bad, or ``out`` is there and not this very version.
    """
    if path.is_dir():
        for corpus in (path, root or path):
            check_outside(corpus, out)
    cohort = read_cohort(path, column_map=column_map, root=root, check_files=True)
    packing = _flow_of_packing(cohort.table, shards) if shards else ()
    flow = (*cohort.flow, *packing)
    version = (
        json.dumps(
            {
                "cohort_sha256": cohort_fingerprint(cohort.table),
                "counts": {
                    name: count
                    for name, count in asdict(cohort.flow[-1]).items()
                    if name != "reason"
                },
                "column_map": Path(column_map).name if column_map else None,
                "column_map_sha256": load_column_map(column_map).fingerprint
                if column_map
                else None,
                "sources_sha256": {_name(file, path): _sha256(file) for file in cohort.files},
                "bsou_dist": __version__,
            },
            indent=2,
        )
        + "\n"
    )
    if out.exists():
        _check_same(out, version, flow)
        return cohort
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    cohort.table.drop(columns="line").to_csv(unfinished / TABLE_NAME, index=False)
    (unfinished / VERSION_NAME).write_text(version, encoding="utf-8")
    (unfinished / f"{FLOW_NAME}.csv").write_text(_flow_csv(flow), encoding="utf-8")
    (unfinished / f"{FLOW_NAME}.md").write_text(_flow_md(flow), encoding="utf-8")
    (unfinished / f"{FLOW_NAME}.png").write_bytes(flow_png(cohort.flow, packing))
    unfinished.replace(out)
    return cohort


def _flow_of_packing(table: pd.DataFrame, shards: Path) -> Sequence[FlowStep]:
    """What each reason of rejects left out of the shards, the most frequent first."""
    outcome = table["path"].map(packing_outcome(shards, default_private_dir(shards)))
    if outcome.isna().all():
        raise InputError(
            f"no clip of the cohort was packed into {shards}; name the shards that were made of it"
        )
    flow = ExclusionFlow(table)
    for reason in outcome[outcome.ne(PACKED)].value_counts().index:
        flow.leave_out(outcome.eq(reason)[flow.table.index], f"rejected when packed: {reason}")
    flow.leave_out(outcome.isna()[flow.table.index], "not among the clips that were packed")
    return flow.steps[1:]


def _check_same(out: Path, version: str, flow: Sequence[FlowStep]) -> None:
    """InputError unless a folder holds the version and flow that would be written."""
    found = [out / name for name in (VERSION_NAME, f"{FLOW_NAME}.csv")]
    if not all(file.is_file() for file in found):
        raise InputError(f"{out} is there and holds no frozen cohort; name a new folder")
    found_version, found_flow = (file.read_text(encoding="utf-8") for file in found)
    if (found_version, found_flow) != (version, _flow_csv(flow)):
        before, now = json.loads(found_version), json.loads(version)
        other = [what for name, what in _VERSION_OF.items() if before.get(name) != now[name]]
        raise InputError(
            f"{out} holds another version of the cohort (it differs in "
            f"{', '.join(dict.fromkeys(other)) or 'the flow'}); name a new folder for this one"
        )


def _flow_csv(flow: Sequence[FlowStep]) -> str:
    return pd.DataFrame(map(asdict, flow)).to_csv(index=False, lineterminator="\n")


def _flow_md(flow: Sequence[FlowStep]) -> str:
    lines = [
        "| step | patients | studies | exams | clips | clips left out |",
        "|---|---|---|---|---|---|",
    ]
    lost = ["", *(f"{before.clips - after.clips:,}" for before, after in pairwise(flow))]
    lines += [
        f"| {step.reason} | {step.patients:,} | {step.studies:,} | {step.exams:,} | "
        f"{step.clips:,} | {left_out} |"
        for step, left_out in zip(flow, lost, strict=True)
    ]
    return "\n".join(lines) + "\n"


def _name(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix() if path.is_dir() else file.name


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
