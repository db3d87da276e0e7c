"""Which items of the reporting checklists a report or a run's folder answers, and which it can't.

STARD 2015 (Bossuyt et al., *BMJ* 351:h5527; STARD-AI extends it, and its additions stand here by
topic), TRIPOD+AI (Collins et al. 2024, *BMJ* 385:e078378) and CLAIM in its update of 2024 (Tejani
et al., *Radiology: Artificial Intelligence* 6:e240300). The checklists' own wording decides.
"""

from __future__ import annotations

import html
from typing import NamedTuple

AUTHORS = "for the study's authors"


class Item(NamedTuple):
    """One thing to report."""

    what: str
    stard: str
    """Numbers in STARD 2015; 'AI' for what STARD-AI adds."""
    tripod: str
    """Numbers in TRIPOD+AI."""
    claim: str
    """Numbers in CLAIM 2024."""
    where: str
    """What answers it, or `AUTHORS`."""


ITEMS = (
    Item("title, abstract, background, aims", "1-4", "1-4", "1-4, 6", AUTHORS),
    Item("design, setting, dates", "5, 8, 9", "5, 6a", "5, 7", AUTHORS),
    Item(
        "eligibility and exclusions", "6, 7, 19", "6b, 20a", "8, 35", "flow of bsou freeze and pack"
    ),
    Item("acquisition of pictures", "10a", "9", "13", AUTHORS),
    Item("preparation of data", "AI", "7", "9, 10", "shards.json, rejects.csv of the pack"),
    Item("de-identification", "AI", "17", "11", "pseudonyms; privacy report of bsou inspect"),
    Item("reference standard, who labels", "10b, 11, 13b", "8", "14-18", AUTHORS),
    Item("missing data", "15, 16", "11", "12", "notes at the start of a run; its quarantine files"),
    Item("split of data, by patient", "AI", "12a", "19, 20", "config.yaml: data.splits"),
    Item("sample size", "18", "10", "21", "bsou power, and the study's authors"),
    Item("model, software, first weights", "10a, AI", "12c, 22", "22-24", "config.yaml, Facts"),
    Item("training and choice of a model", "AI", "12c", "25-27", "config.yaml, tracked losses"),
    Item("threshold", "12a", "15", "26, 28", "what is found: threshold of the validation split"),
    Item("imbalance of classes", "AI", "13", "28", "positives beside n; row median / majority"),
    Item("measures and uncertainty", "14", "12e", "28, 29", "docs/evaluation.md; table legends"),
    Item("patients and their traits", "20, 21", "20b, 20c", "36", "counts by subgroup"),
    Item("cross tabulation", "23", "23a", "37", "confusion matrix of each task"),
    Item("performance with intervals", "24", "23a", "37, 38", "tables; records.csv"),
    Item("calibration", "AI", "12e, 23a", "28", "calibration curve, slope, intercept; coverage"),
    Item("subgroups, fairness", "17, AI", "12d, 14, 23", "30", "by subgroup; subgroups.csv"),
    Item("what a shortcut reaches", "AI", "25", "30", "rows of those that see no picture"),
    Item("failures", "AI", "25", "39", "errors in predictions.parquet; their causes: authors"),
    Item("other data, external tests", "AI", "16", "33", "sets of patients; several corpora"),
    Item("numbers analysed", "24", "21", "32, 37", "n / patients in every cell; split sizes"),
    Item("time between test and reference", "22", "", "", AUTHORS),
    Item("what the model looks at", "AI", "25", "31", AUTHORS),
    Item("updating of the model", "", "12f, 24", "", AUTHORS),
    Item("adverse events", "25", "", "", AUTHORS),
    Item("limits and use", "26, 27", "25-27", "40, 41", AUTHORS),
    Item("code, model, data", "AI", "18e, 18f", "43", "Facts: code and data fingerprint"),
    Item("registration, protocol, ethics, funding", "28-30", "17-19", "34, 42, 44", AUTHORS),
)
_HEADINGS = ("to report", "STARD-AI", "TRIPOD+AI", "CLAIM", "where")


def checklist_markdown() -> str:
    """The table of docs/checklists.md."""
    lines = [f"| {' | '.join(_HEADINGS)} |", "|---" * len(_HEADINGS) + "|"]
    lines += [f"| {' | '.join(item)} |" for item in ITEMS]
    return "\n".join(lines)


def checklist_html() -> str:
    """The same table for a report, folded."""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in _HEADINGS)
    body = ""
    for item in ITEMS:
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in item)
        body += f"<tr>{cells}</tr>"
    table = f'<table class="checklist"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return (
        "<h2>Checklists</h2><details><summary>What this report answers of STARD-AI, TRIPOD+AI and "
        f'CLAIM, and what the study\'s authors must</summary><div class="scroll">{table}</div>'
        "</details>"
    )
