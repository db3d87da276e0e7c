"""A layout of several tables, joined into one table of contract columns with its exclusion flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from bsou_dist.cohort.bad_cells import bad_cells, raise_bad_cells
from bsou_dist.cohort.column_map import ColumnMap
from bsou_dist.cohort.columns import COLUMNS, MASKED_FOR_MULTIPLES, OPTIONAL_SPLITS, YOUNGEST_DAYS
from bsou_dist.cohort.exclusions import ExclusionFlow, FlowStep, left_out
from bsou_dist.cohort.famli import dating, exams
from bsou_dist.cohort.famli.corrections import correct_tags, spacing_of_videos
from bsou_dist.cohort.famli.dates import days_of_dates
from bsou_dist.cohort.famli.fetuses import count_fetuses
from bsou_dist.cohort.famli.forms import (
    NEAR_DAYS,
    bmi,
    forms_of_visits,
    is_ineligible,
    move_to_day,
    says_yes,
)
from bsou_dist.cohort.famli.found_folders import find_folders
from bsou_dist.cohort.famli.reports import read_reports, read_wide_reports, reports_of_clips
from bsou_dist.cohort.famli.table_roles import DATES_OF_FORM
from bsou_dist.cohort.famli.tables import Tables
from bsou_dist.cohort.raw_cohort import RawCohort
from bsou_dist.common.errors import InputError

_OUTSIDE = r"(?:^|/)\.\.(?:/|$)|^/|^[A-Za-z]:"
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def read_layout(
    root: Path,
    mapping: ColumnMap,
    *,
    files_under: Path | None,
    clips_root: Path | None = None,
    strict: bool = False,
) -> RawCohort:
    """Read a layout.

    A bad cell becomes missing, or is resolved by a rule, and comes back in ``set_aside``; if
    ``strict`` it is an error and comes back in ``bad``.

    Args:
        root: folder that holds the projects' folders.
        mapping: a map with ``tables``.
        files_under: folder to look for the clips' files in, so that those without a file are left
            out; None looks for none.
        clips_root: folder that paths are relative to, by default ``root``. Folders that no table
            names are looked for in it.
        strict: whether bad cells are errors.

    Raises:
        InputError: a table or a column is missing, or no clip is left.
    """
    if not root.is_dir():
        raise InputError(
            f"{root} is no folder; this column map reads the tables of a folder that holds the "
            "projects"
        )
    assert mapping.path is not None, "a map with tables has a path"
    tables = Tables(root, mapping)
    clips = tables.read("clips")
    if clips.empty:
        raise InputError(f"{tables.files['clips']} has no rows")
    tables.decode("clips", clips)

    by_folder = mapping.exams_from != "acquisition"
    if mapping.exams_from == "found_folder":
        _find_folders(tables, clips, root if clips_root is None else clips_root)
    elif by_folder:
        exams.exams_of_folders(clips)
    else:
        exams.exams_of_acquisitions(clips)
    flow = ExclusionFlow(clips)
    _leave_out_unidentified(flow, "file_name" if by_folder else "file_path")
    if mapping.exams_from == "found_folder":
        flow.leave_out(flow.table["in_several_folders"], "file in several folders of its study")
        flow.leave_out(flow.table["exam_folder"].isna(), "file not there")

    clips = flow.table.copy()
    if by_folder:
        _join_folder_labels(tables, clips)
    else:
        _join_acquisition_labels(tables, clips)
    clips = clips.assign(**mapping.constants)
    clips["path"] = exams.clip_paths(clips, mapping.path)
    outside = clips["path"].str.contains(_OUTSIDE).eq(True)
    cells = bad_cells(clips, "path", outside, "a path within the corpus")
    tables.blame("clips", [replace(cell, resolved="left out") for cell in cells])
    clips["path"] = clips["path"].mask(outside)

    flow.table = clips
    if by_folder:
        _leave_out_stills(flow)
    _leave_out_repeats(flow)
    bad = exams.bad_folders(flow.table) if by_folder else exams.bad_acquisitions(flow.table)
    tables.blame("clips", bad)
    flow.leave_out(flow.table["path"].isna(), "exam or path unreadable")
    if by_folder:
        flow.leave_out(flow.table["ineligible"], "visit not eligible")
        flow.leave_out(flow.table["excluded"], "patient left out by the file of twins")
    if files_under is not None and mapping.exams_from != "found_folder":
        _leave_out_without_file(flow, files_under)
    if mapping.min_clips_per_exam > 1:
        _leave_out_small_exams(flow, mapping.min_clips_per_exam)

    kept = flow.table
    if kept.empty:
        if strict:
            raise_bad_cells(str(root), tables.bad)
        raise InputError(f"no clip of {root} is left. {_account(flow.steps)}")
    table = _contract_columns(kept)
    tables.note(
        int(dating.against_the_calendar(table).sum()),
        "patients have visits whose gestational ages and dates "
        f"are more than {dating.APART_DAYS} days at odds; both are kept as they are",
    )
    return RawCohort(
        table=table,
        bad=tables.bad if strict else [],
        set_aside=() if strict else tuple(tables.bad),
        notes=tables.notes,
        files=tuple(tables.files.values()),
        flow=tuple(flow.steps),
        clips_name=tables.files["clips"].name,
    )


def _find_folders(tables: Tables, clips: pd.DataFrame, root: Path) -> None:
    """Find the folders of clips on disk and read exams off them, in place.

    The day is the table's where it has one, since the times of folders may be shifted.
    """
    in_no_row = find_folders(root, clips)
    tables.note(in_no_row, "files in folders of sessions stand in no row, and were not read")
    exams.exams_of_folders(clips)
    clips["day"] = days_of_dates(clips["study_date"]).fillna(clips["day"])


def _contract_columns(clips: pd.DataFrame) -> pd.DataFrame:
    splits = [name for name in OPTIONAL_SPLITS if name in clips.columns]
    names = [*COLUMNS, *splits]
    dtypes = dict.fromkeys(names, "str")
    for name, column in COLUMNS.items():
        if column.kind == "number":
            dtypes[name] = "float64"
    table = clips.reindex(columns=[*names, "line"]).reset_index(drop=True).astype(dtypes)
    table["ga_source"] = table["ga_source"].where(table["ga_days"].notna())
    return table


def _join_folder_labels(tables: Tables, clips: pd.DataFrame) -> None:
    """Add labels to ``clips``, in place.

    Those of a visit's form hold for all of its exams, those of its reports for the exams of their
    maker.
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
    forms = _read_forms(tables, ["study_id", "form_day"])
    form = forms_of_visits(forms, clips)
    near, far = move_to_day(form)
    tables.note(
        _count_studies(clips, near),
        f"studies have a form dated up to {NEAR_DAYS} days from the folder's day; it was joined, "
        "its age moved by the days between",
    )
    tables.note(
        _count_studies(clips, far),
        f"studies have a form dated more than {NEAR_DAYS} days from the folder's day alone; age, "
        "presentation, placenta, pocket and operator were not taken from it",
    )
    _join_form(tables, forms, form, clips)
    reports = read_reports(tables, ("reports", "sonosite_reports"))
    report = reports_of_clips(tables, reports, clips)
    wide_reports = read_wide_reports(tables)
    report = report.fillna(wide_reports.reindex(clips["study_id"]).set_axis(clips.index))

    tables.note(
        _count_studies(clips, dating.dates_differ(report)),
        "studies have a report whose due date, conception date and last period give ages that "
        "differ; the due date counts, else the conception date",
    )
    _date(tables, clips, dating.candidates(form, report, clips["day"]))
    pocket = COLUMNS["dvp_cm"]
    report_dvp_cm = report["dvp_cm"]
    possible = report_dvp_cm.between(pocket.low, pocket.high)
    clips["dvp_cm"] = form["dvp_cm"].fillna(report_dvp_cm.where(possible))
    clips["operator"] = exams.operators(clips, says_yes(form["novice"]))
    clips["mm_per_px"] = spacing_of_videos(tables, clips)

    clips["began"] = clips["day"] - clips["ga_days"]
    reported = _reported_fetuses(reports, wide_reports, forms)
    count = count_fetuses(tables, clips, _records_of_fetuses(forms, reported, clips))
    clips["fetuses"] = count.fetuses
    clips["excluded"] = count.excluded
    # Whoever contradicts 'one' has seen two: what is not defined for twins is not asked of a
    # disputed pregnancy.
    labels = list(MASKED_FOR_MULTIPLES)
    clips[labels] = clips[labels].mask(count.disputed, axis="index")
    tables.note(
        int(count.disputed.sum()),
        "clips are of pregnancies with forms and reports that disagree about the "
        f"number of fetuses; it is taken as missing, as are {', '.join(labels)}",
    )


def _date(tables: Tables, clips: pd.DataFrame, ages: dating.Candidates) -> None:
    clips["ga_days"], clips["ga_source"] = dating.first_age(ages)
    tables.note(
        _count_studies(clips, dating.too_young(ages)),
        "visits have a gestational age below "
        f"{YOUNGEST_DAYS} days (0, or weeks for days); it was not used",
    )
    tables.note(
        _count_studies(clips, dating.disagree(ages)),
        "visits have sources of gestational age, the scan's own "
        f"biometry included, that are more than {dating.APART_DAYS} days apart; the first counts",
    )


def _join_acquisition_labels(tables: Tables, clips: pd.DataFrame) -> None:
    """Add labels to ``clips``, in place, from the table of studies and from the forms.

    The map's constants say how the studies were dated: 'boe', the best obstetric estimate.
    """
    studies = tables.read("studies")
    tables.decode("studies", studies)
    studies = tables.one_row_each("studies", studies, ["study_id"])
    best_estimate = clips["study_id"].map(studies["ga_days"])
    clips["ga_days"], _ = dating.first_age([("boe", best_estimate)])
    clips["split_stage2"] = clips["study_id"].map(studies["split_stage2"]).astype("str")
    clips["visit_day"] = exams.days_since_first(clips, clips["ga_days"])
    forms = _read_forms(tables, ["study_id"])
    form = forms.set_index("study_id").reindex(clips["study_id"]).set_axis(clips.index)
    _join_form(tables, forms, form, clips)
    clips["dvp_cm"] = form["dvp_cm"]


def _read_forms(tables: Tables, keys: list[str]) -> pd.DataFrame:
    """The forms, a row for each of ``keys``."""
    forms = tables.read("forms")
    tables.drop_uncoded("forms", forms, "placenta")
    tables.read_dates("forms", forms, DATES_OF_FORM)
    # an empty cell stands for no days beside the weeks, an unreadable one for an unknown age
    forms["ga_extra_days"] = forms["ga_extra_days"].fillna("0")
    tables.decode("forms", forms)
    return tables.one_row_each("forms", forms, keys).reset_index()


def _reported_fetuses(
    reports: pd.DataFrame, wide_reports: pd.DataFrame, forms: pd.DataFrame
) -> pd.Series:
    """Numbers of fetuses that reports say, by ``study_id``.

    A wide report says 'several' at most, which a form that has more than two does not contradict.
    """
    of_form = forms.groupby("study_id")["fetuses"].max()
    in_wide = wide_reports["fetuses"]
    more = of_form.reindex(in_wide.index).gt(2) & in_wide.eq(2)
    in_wide = in_wide.mask(more, of_form)
    found = pd.concat([reports["fetuses"].droplevel("maker"), in_wide]).rename("fetuses")
    return found.rename_axis("study_id")


def _records_of_fetuses(
    forms: pd.DataFrame, reported: pd.Series, clips: pd.DataFrame
) -> pd.DataFrame:
    """What each form and report says about fetuses: by ``patient_id``, ``day`` and ``began``.

    A form's own dates tell the pregnancy it is of; where it has none, and for reports, those of the
    study's clips do, if they have one day.
    """
    visits = clips[["study_id", "day", "began"]].dropna(subset=["day"]).drop_duplicates()
    visit = visits[~visits["study_id"].duplicated(keep=False)].set_index("study_id")
    age_days, _ = dating.first_age(dating.ages_of_forms(forms))
    day = forms["form_day"].fillna(forms["study_id"].map(visit["day"]))
    began = (forms["due_date"] - dating.TERM_DAYS).fillna(day - age_days)
    same_day = day.eq(forms["study_id"].map(visit["day"]))
    began = began.fillna(forms["study_id"].map(visit["began"]).where(same_day))
    of_forms = forms[["study_id", "fetuses"]].assign(day=day, began=began)
    of_reports = reported.reset_index()
    of_reports["day"] = of_reports["study_id"].map(visit["day"])
    of_reports["began"] = of_reports["study_id"].map(visit["began"])
    records = pd.concat([of_forms, of_reports], ignore_index=True)
    numbers = ["day", "began", "fetuses"]
    records[numbers] = records[numbers].astype("float64")
    records["patient_id"] = exams.patients_of(records["study_id"])
    return records[["patient_id", *numbers]].dropna(subset=["patient_id"])


def _join_form(
    tables: Tables, forms: pd.DataFrame, form: pd.DataFrame, clips: pd.DataFrame
) -> None:
    """Add the labels of a visit's form that need no rule to ``clips``, in place.

    ``form`` is the one of each clip, ``forms`` are all.
    """
    without_form = ~clips["study_id"].isin(forms["study_id"])
    tables.note(_count_studies(clips, without_form), "studies have no form")
    clips["presentation"] = form["presentation"]
    clips["placenta"] = form["placenta"]
    clips["site"] = exams.clinics_of(clips["patient_id"])
    clips["ineligible"] = is_ineligible(form["eligible"])
    clips["bmi"] = bmi(form["weight"], form["height"])
    measured = forms[["weight", "height"]].notna().all(axis="columns")
    unclear = measured & bmi(forms["weight"], forms["height"]).isna()
    tables.note(
        int(unclear.sum()),
        "forms hold a weight and height that make no body mass index in any unit; bmi is missing",
    )


def _count_studies(clips: pd.DataFrame, rows: pd.Series) -> int:
    return clips.loc[rows, "study_id"].nunique()


def _account(steps: list[FlowStep]) -> str:
    lost = (f"{reason}: {clips}" for reason, clips in left_out(steps).items())
    return f"{steps[0].clips} clips were found; left out were {', '.join(lost)}"


def _leave_out_unidentified(flow: ExclusionFlow, name_field: str) -> None:
    """Take out rows of which nobody can tell whose they are, before anything is counted by them."""
    without_ids = flow.table[["patient_id", "study_id"]].isna().any(axis="columns")
    flow.leave_out(without_ids, "no patient or study id")
    flow.leave_out(flow.table[name_field].isna(), "no file name")
    flow.leave_out(exams.contradicting(flow.table), "ids contradict one another")


def _leave_out_stills(flow: ExclusionFlow) -> None:
    """Take out what is no video, by the ending of its name and its number of frames."""
    name = flow.table["file_name"].str.lower()
    base_name = name.str.replace(r"^.*/", "", regex=True)
    is_bare_uid = base_name.str.fullmatch(r"\d+(\.\d+){2,}")
    is_dicom = name.str.endswith(".dcm") | is_bare_uid
    has_one_frame = flow.table["frames"].fillna(1).lt(2)
    is_still = name.str.endswith(_PICTURES) | is_dicom & has_one_frame
    flow.leave_out(is_still, "still image")
    is_video = is_dicom | name.str.endswith(".mp4")
    flow.leave_out(~is_video[~is_still], "not a video")


def _leave_out_repeats(flow: ExclusionFlow) -> None:
    """Take out second rows of a recording, and all of one that two studies claim."""
    flow.table = flow.table.assign(instance=exams.instances_of(flow.table))
    instances = flow.table["instance"]
    repeated = flow.table.duplicated(["study_id", "instance"]) & instances.notna()
    flow.leave_out(repeated, "listed before")
    claims = flow.table[["instance", "study_id"]].dropna().drop_duplicates()
    claimed_twice = claims.loc[claims["instance"].duplicated(), "instance"]
    flow.leave_out(flow.table["instance"].isin(claimed_twice), "one file in two studies")


def _leave_out_without_file(flow: ExclusionFlow, folder: Path) -> None:
    found = flow.table["path"].map(lambda path: (folder / path).is_file(), na_action="ignore")
    flow.leave_out(found.eq(False), "file not there")


def _leave_out_small_exams(flow: ExclusionFlow, min_clips: int) -> None:
    clips_of_exam = flow.table.groupby("exam_id")["path"].transform("size")
    too_few = clips_of_exam.lt(min_clips)
    flow.leave_out(too_few, f"fewer than {min_clips} clips in the exam")
