"""A layout of several tables, read and joined into one table of contract columns with its exclusion
flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bsou_dist.cohort.bad_cells import BadCell, raise_bad_cells
from bsou_dist.cohort.column_map import ColumnMap
from bsou_dist.cohort.columns import COLUMNS, MASKED_FOR_MULTIPLES, OPTIONAL_SPLITS, YOUNGEST_DAYS
from bsou_dist.cohort.exclusions import Flow, FlowStep, left_out
from bsou_dist.cohort.famli import dating, exams
from bsou_dist.cohort.famli.corrections import correct_tags, spacing_of_videos
from bsou_dist.cohort.famli.fetuses import count_fetuses
from bsou_dist.cohort.famli.forms import bmi, is_ineligible, says_yes
from bsou_dist.cohort.famli.reports import read_reports
from bsou_dist.cohort.famli.tables import Tables
from bsou_dist.common.errors import InputError

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Layout:
    """``table`` has the contract columns, the split columns that the layout has, and ``line`` of
    the table of clips.
    """

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
        files_under: folder to look for the clips' files in, so that those without a file are left
            out; None looks for none.

    Raises:
        InputError: a table or a column is missing. Bad cells come back in ``bad``.
    """
    if not root.is_dir():
        raise InputError(
            f"{root} is no folder; this column map reads the tables of a folder that holds the "
            "projects"
        )
    tables = Tables(root, mapping)
    clips = tables.read("clips")
    if clips.empty:
        raise InputError(f"{tables.files['clips']} has no rows")
    tables.decode("clips", clips)
    if mapping.exams_from == "folder":
        exams.exams_of_folders(clips)
        join_labels = _join_folder_labels
    else:
        exams.exams_of_acquisitions(clips)
        join_labels = _join_acquisition_labels
    flow = Flow(clips)
    _leave_out_unidentified(flow, mapping)
    clips = flow.table.copy()
    join_labels(tables, clips)
    clips = clips.assign(**mapping.constants)
    assert mapping.path is not None
    clips["path"] = exams.clip_paths(clips, mapping.path)

    flow.table = clips
    _leave_out_unfit(flow, mapping, files_under)
    kept = flow.table
    tables.blame(
        "clips",
        exams.bad_folders(kept) if mapping.exams_from == "folder" else exams.bad_acquisitions(kept),
    )
    kept = kept[kept["path"].notna()]  # the others are bad cells by now
    if kept.empty:
        raise_bad_cells(str(root), tables.bad)
        raise InputError(f"no clip of {root} is left. {_account(flow.steps)}")
    names = [*COLUMNS, *(name for name in OPTIONAL_SPLITS if name in kept.columns), "line"]
    table = kept.reindex(columns=names).reset_index(drop=True)
    kinds = {
        name: "float64" if name in COLUMNS and COLUMNS[name].kind == "number" else "str"
        for name in names[:-1]
    }
    table = table.astype(kinds)
    table["ga_source"] = table["ga_source"].where(table["ga_days"].notna())
    tables.note(
        int(dating.against_the_calendar(table).sum()),
        "patients have visits whose gestational ages and dates "
        f"are more than {dating.APART_DAYS} days at odds; both are kept as they are",
    )
    return Layout(
        table,
        tuple(flow.steps),
        tables.bad,
        tables.notes,
        tuple(tables.files.values()),
        tables.files["clips"].name,
    )


def _join_folder_labels(tables: Tables, clips: pd.DataFrame) -> None:
    """Labels of a visit from its form, for all of its exams; those of its reports for the exams of
    their maker.
    """
    tables.note(
        int(clips["unclear_device"].sum()),
        "clips have a maker or model that is no plain text; it is taken as missing",
    )
    clips["visit_day"] = exams.days_since_first(clips, clips["day"])
    on_several_days = clips.groupby("study_id")["day"].nunique().gt(1)
    tables.note(
        int(on_several_days.sum()),
        "studies have folders of several days; the form's gestational age stands for all of them",
    )
    correct_tags(tables, clips)
    forms = _read_forms(tables)
    of_visit = _join_forms(tables, forms, clips)
    reports = read_reports(tables, ("reports", "sonosite_reports"))
    report_rows = pd.MultiIndex.from_frame(clips[["study_id", "maker"]])
    of_maker = reports.reindex(report_rows).set_axis(clips.index)

    ages = dating.candidates(of_visit, of_maker)
    clips["ga_days"], clips["ga_source"] = dating.first_age(ages)
    tables.note(
        _studies(clips, dating.too_young(ages)),
        "visits have a gestational age below "
        f"{YOUNGEST_DAYS} days (0, or weeks for days); it was not used",
    )
    tables.note(
        _studies(clips, dating.disagree(ages)),
        "visits have sources of gestational age, the scan's own "
        f"biometry included, that are more than {dating.APART_DAYS} days apart; the first counts",
    )
    clips["dvp_cm"] = of_visit["dvp_cm"].fillna(
        of_maker["dvp_cm"].where(
            of_maker["dvp_cm"].between(COLUMNS["dvp_cm"].low, COLUMNS["dvp_cm"].high)
        )
    )
    clips["operator"] = exams.operators(clips, says_yes(of_visit["novice"]))
    clips["mm_per_px"] = spacing_of_videos(tables, clips)
    count = count_fetuses(tables, clips, forms["fetuses"], reports["fetuses"])
    clips["fetuses"], clips["excluded"] = count.fetuses, count.excluded
    # Whoever contradicts 'one' has seen two: what is not defined for twins is not asked of a
    # disputed pregnancy.
    clips[list(MASKED_FOR_MULTIPLES)] = clips[list(MASKED_FOR_MULTIPLES)].mask(
        count.disputed, axis="index"
    )
    tables.note(
        int(count.disputed.sum()),
        "clips are of patients with forms and reports that disagree about the "
        f"number of fetuses; it is taken as missing, as are {', '.join(MASKED_FOR_MULTIPLES)}",
    )


def _join_acquisition_labels(tables: Tables, clips: pd.DataFrame) -> None:
    """Labels of a study from the table of studies and from its form; the map's constants say how it
    was dated.
    """
    studies = tables.read("studies")
    tables.decode("studies", studies)
    studies = tables.one_row_each("studies", studies, "study_id")
    clips["ga_days"], _ = dating.first_age([("boe", clips["study_id"].map(studies["ga_days"]))])
    clips["split_stage2"] = clips["study_id"].map(studies["split_stage2"]).astype("str")
    clips["visit_day"] = exams.days_since_first(clips, clips["ga_days"])
    clips["dvp_cm"] = _join_forms(tables, _read_forms(tables), clips)["dvp_cm"]


def _read_forms(tables: Tables) -> pd.DataFrame:
    """The forms by ``study_id``."""
    forms = tables.read("forms")
    tables.drop_uncoded("forms", forms, "placenta")
    tables.decode("forms", forms)
    return tables.one_row_each("forms", forms, "study_id")


def _join_forms(tables: Tables, forms: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """The form of each clip's visit, row by row. Labels that need no rule go straight into
    ``clips``.
    """
    tables.note(_studies(clips, ~clips["study_id"].isin(forms.index)), "studies have no form")
    rows = forms.reindex(clips["study_id"]).set_axis(clips.index)
    clips["presentation"], clips["placenta"] = rows["presentation"], rows["placenta"]
    clips["site"] = exams.clinics_of(clips["patient_id"])
    clips["ineligible"] = is_ineligible(rows["eligible"])
    clips["bmi"] = bmi(rows["weight"], rows["height"])
    unclear = (
        forms[["weight", "height"]].notna().all(axis="columns")
        & bmi(forms["weight"], forms["height"]).isna()
    )
    tables.note(
        int(unclear.sum()),
        "forms hold a weight and height that make no body mass index in any unit; bmi is missing",
    )
    return rows


def _studies(clips: pd.DataFrame, rows: pd.Series) -> int:
    return clips.loc[rows, "study_id"].nunique()


def _account(steps: list[FlowStep]) -> str:
    lost = (f"{reason}: {clips}" for reason, clips in left_out(steps).items())
    return f"{steps[0].clips} clips were found; left out were {', '.join(lost)}"


def _leave_out_unidentified(flow: Flow, mapping: ColumnMap) -> None:
    """Take out the rows that nobody can tell whose they are, before anything is counted from
    them.
    """
    flow.leave_out(
        flow.table[["patient_id", "study_id"]].isna().any(axis="columns"), "no patient or study id"
    )
    named = "file_path" if mapping.exams_from == "acquisition" else "file_name"
    flow.leave_out(flow.table[named].isna(), "no file name")
    flow.leave_out(exams.contradicting(flow.table), "ids contradict one another")


def _leave_out_unfit(flow: Flow, mapping: ColumnMap, files_under: Path | None) -> None:
    """Take out the clips that are none, or not of the cohort."""
    if mapping.exams_from == "folder":
        name = flow.table["file_name"].str.lower()
        dicom = name.str.endswith(".dcm")
        still = name.str.endswith(_PICTURES) | dicom & flow.table["frames"].fillna(1).lt(2)
        video = dicom | name.str.endswith(".mp4")
        flow.leave_out(still, "still image")
        flow.leave_out(~video[~still], "not a video")
    flow.table = flow.table.assign(instance=exams.instances_of(flow.table))
    again = flow.table.duplicated(["study_id", "instance"]) & flow.table["instance"].notna()
    flow.leave_out(again, "listed before")
    claims = flow.table[["instance", "study_id"]].dropna().drop_duplicates()
    claimed_twice = claims.loc[claims["instance"].duplicated(), "instance"]
    flow.leave_out(flow.table["instance"].isin(claimed_twice), "one file in two studies")
    if mapping.exams_from == "folder":
        flow.leave_out(flow.table["ineligible"], "visit not eligible")
        flow.leave_out(flow.table["excluded"], "patient left out by the file of twins")
    if files_under is not None:
        there = flow.table["path"].map(
            lambda path: (files_under / path).is_file(), na_action="ignore"
        )
        flow.leave_out(there.eq(False), "file not there")
    if mapping.min_clips_per_exam > 1:
        clips_of_exam = flow.table.groupby("exam_id")["path"].transform("size")
        flow.leave_out(
            clips_of_exam.lt(mapping.min_clips_per_exam),
            f"fewer than {mapping.min_clips_per_exam} clips in the exam",
        )
