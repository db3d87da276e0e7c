"""A layout of several tables, read and joined into one table of contract columns with its exclusion flow."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd

from bsou_dist.cohort.colmap import ColumnMap
from bsou_dist.cohort.columns import COLUMNS, MASKED_FOR_MULTIPLES, OPTIONAL_SPLITS
from bsou_dist.cohort.famli import dating, exams
from bsou_dist.cohort.famli.by_file import correct_tags, spacing_of_videos
from bsou_dist.cohort.famli.fetuses import count_fetuses
from bsou_dist.cohort.famli.forms import bmi, is_ineligible, says_yes
from bsou_dist.cohort.famli.reports import read_reports
from bsou_dist.cohort.famli.tables import Tables
from bsou_dist.cohort.flow import Flow, FlowStep
from bsou_dist.cohort.problems import BadCell, raise_bad_cells
from bsou_dist.errors import InputError


@dataclass(frozen=True)
class Layout:
    """``table`` has the contract columns, the split columns that the layout has, and ``line`` of the table of clips."""

    table: pd.DataFrame
    flow: tuple[FlowStep, ...]
    bad: list[BadCell]
    notes: list[str]
    files: tuple[Path, ...]
    clips_name: str


def read_layout(root: Path, mapping: ColumnMap, *, files_under: Path | None) -> Layout:
    """Read a layout.

    Args:
        root: folder that holds the projects' folders.
        mapping: a map with ``tables``.
        files_under: folder to look for the clips' files in, so that those without a file are left out; None looks for
            none.

    Raises:
        InputError: a table or a column is missing. Bad cells come back in ``bad``.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder; this column map reads the tables of a folder that holds the projects")
    tables = Tables(root, mapping)
    clips = tables.read("clips")
    if clips.empty:
        raise InputError(f"{tables.files['clips']} has no rows")
    tables.decode("clips", clips)
    if mapping.exams_from == "folder":
        exams.exams_of_folders(clips)
        correct_tags(tables, clips)
        _join_folder_labels(tables, clips)
    else:
        exams.exams_of_acquisitions(clips)
        _join_acquisition_labels(tables, clips)
    clips = clips.assign(**mapping.constants)
    assert mapping.path is not None
    clips["path"] = exams.clip_paths(clips, mapping.path)

    flow = _left_out(clips, mapping, files_under)
    kept = flow.table
    tables.blame("clips", exams.bad_folders(kept) if mapping.exams_from == "folder" else exams.bad_acquisitions(kept))
    kept = kept[kept["path"].notna()]  # the others are bad cells by now
    if kept.empty:
        raise_bad_cells(str(root), tables.bad)
        raise InputError(f"no clip of {root} is left. {_account(flow.steps)}")
    names = [*COLUMNS, *(name for name in OPTIONAL_SPLITS if name in kept.columns), "line"]
    table = kept.reindex(columns=names).reset_index(drop=True)
    kinds = {name: "float64" if name in COLUMNS and COLUMNS[name].kind == "number" else "str" for name in names[:-1]}
    table = table.astype(kinds)
    table["ga_source"] = table["ga_source"].where(table["ga_days"].notna())
    return Layout(table, tuple(flow.steps), tables.bad, tables.notes, tuple(tables.files.values()),
                  tables.files["clips"].name)


def _join_folder_labels(tables: Tables, clips: pd.DataFrame) -> None:
    """Labels of a visit from its form, for all of its exams; those of its reports for the exams of their maker."""
    forms = _forms_of(tables, clips)
    reports = read_reports(tables, ("reports", "sonosite_reports"))
    report_rows = pd.MultiIndex.from_frame(clips[["study_id", "maker"]])
    of_maker = reports.reindex(report_rows).set_axis(clips.index)

    clips["ga_days"], clips["ga_source"] = dating.first_age(dating.candidates(forms, of_maker))
    clips["dvp_cm"] = forms["dvp_cm"].fillna(of_maker["dvp_cm"].where(
        of_maker["dvp_cm"].between(COLUMNS["dvp_cm"].low, COLUMNS["dvp_cm"].high)))
    clips["operator"] = exams.operators(clips, says_yes(forms["novice"]))
    clips["mm_per_px"] = spacing_of_videos(tables, clips)
    count = count_fetuses(tables, clips, forms["fetuses"], reports["fetuses"])
    clips["fetuses"], clips["excluded"] = count.fetuses, count.excluded
    # Whoever contradicts 'one' has seen two: what is not defined for twins is not asked of a disputed pregnancy.
    clips[list(MASKED_FOR_MULTIPLES)] = clips[list(MASKED_FOR_MULTIPLES)].mask(count.disputed, axis="index")
    if count.disputed.any():
        tables.notes.append(f"forms and reports disagree about the number of fetuses in {int(count.disputed.sum())} "
                            f"clips; it is taken as missing, as are {', '.join(MASKED_FOR_MULTIPLES)}")


def _join_acquisition_labels(tables: Tables, clips: pd.DataFrame) -> None:
    """Labels of a study from the table of studies and from its form; the map's constants say how it was dated."""
    studies = tables.read("studies")
    tables.decode("studies", studies)
    studies = tables.one_row_each("studies", studies, "study_id")
    clips["ga_days"] = clips["study_id"].map(studies["ga_days"])
    clips["split_stage2"] = clips["study_id"].map(studies["split_stage2"]).astype("str")
    clips["visit_day"] = exams.days_since_first(clips, clips["ga_days"])
    clips["dvp_cm"] = _forms_of(tables, clips)["dvp_cm"]


def _forms_of(tables: Tables, clips: pd.DataFrame) -> pd.DataFrame:
    """The form of each clip's visit, row by row. Labels that need no rule go straight into ``clips``."""
    forms = tables.read("forms")
    tables.drop_uncoded("forms", forms, "placenta")
    tables.decode("forms", forms)
    forms = tables.one_row_each("forms", forms, "study_id")
    rows = forms.reindex(clips["study_id"]).set_axis(clips.index)
    clips["presentation"], clips["placenta"] = rows["presentation"], rows["placenta"]
    clips["site"] = clips["patient_id"].str.rpartition("-")[0].replace("", None).astype("str")
    clips["ineligible"] = is_ineligible(rows["eligible"])
    clips["bmi"] = bmi(rows["weight"], rows["height"])
    unclear = forms[["weight", "height"]].notna().all(axis="columns") & bmi(forms["weight"], forms["height"]).isna()
    if unclear.any():
        tables.notes.append(f"{int(unclear.sum())} forms hold a weight and height that make no body mass index in any "
                            "unit; bmi is missing")
    return rows


def _account(steps: list[FlowStep]) -> str:
    lost = (f"{step.reason}: {before.clips - step.clips}" for before, step in pairwise(steps)
            if step.clips < before.clips)
    return f"{steps[0].clips} clips were found; left out were {', '.join(lost)}"


def _left_out(clips: pd.DataFrame, mapping: ColumnMap, files_under: Path | None) -> Flow:
    """The flow of clips down to those of the cohort."""
    flow = Flow(clips)
    flow.leave_out(flow.table[["patient_id", "study_id"]].isna().any(axis="columns"), "no patient or study id")
    named = "file_path" if mapping.exams_from == "acquisition" else "file_name"
    flow.leave_out(flow.table[named].isna(), "no file name")
    if mapping.exams_from == "folder":
        name = flow.table["file_name"].str.lower()
        loop = name.str.endswith(".dcm") & flow.table["frames"].fillna(1).ge(2)
        flow.leave_out(~(loop | name.str.endswith(".mp4")), "still image")
    flow.leave_out(flow.table.duplicated(["study_id", named]), "listed before")
    claims = flow.table[["path", "study_id"]].dropna().drop_duplicates()
    flow.leave_out(flow.table["path"].isin(claims.loc[claims["path"].duplicated(), "path"]), "one file in two studies")
    if mapping.exams_from == "folder":
        flow.leave_out(flow.table["ineligible"], "visit not eligible")
        flow.leave_out(flow.table["excluded"], "patient left out by the file of twins")
    if files_under is not None:
        there = flow.table["path"].map(lambda path: (files_under / path).is_file(), na_action="ignore")
        flow.leave_out(there.eq(False), "file not there")
    if mapping.min_clips_per_exam > 1:
        clips_of_exam = flow.table.groupby("exam_id")["path"].transform("size")
        flow.leave_out(clips_of_exam.lt(mapping.min_clips_per_exam),
                       f"fewer than {mapping.min_clips_per_exam} clips in the exam")
    return flow
