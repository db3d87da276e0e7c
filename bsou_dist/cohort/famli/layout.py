"""A layout of several tables, joined into one table of contract columns with its exclusion flow."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bsou_dist.cohort.bad_cells import raise_bad_cells
from bsou_dist.cohort.column_map import ColumnMap
from bsou_dist.cohort.columns import COLUMNS, MASKED_FOR_MULTIPLES, OPTIONAL_SPLITS, YOUNGEST_DAYS
from bsou_dist.cohort.exclusions import ExclusionFlow, FlowStep, left_out
from bsou_dist.cohort.famli import dating, exams
from bsou_dist.cohort.famli.corrections import correct_tags, spacing_of_videos
from bsou_dist.cohort.famli.fetuses import count_fetuses
from bsou_dist.cohort.famli.forms import bmi, is_ineligible, says_yes
from bsou_dist.cohort.famli.reports import read_reports
from bsou_dist.cohort.famli.tables import Tables
from bsou_dist.cohort.raw_cohort import RawCohort
from bsou_dist.common.errors import InputError

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def read_layout(root: Path, mapping: ColumnMap, *, files_under: Path | None) -> RawCohort:
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
    assert mapping.path is not None, "a map with tables has a path"
    tables = Tables(root, mapping)
    clips = tables.read("clips")
    if clips.empty:
        raise InputError(f"{tables.files['clips']} has no rows")
    tables.decode("clips", clips)

    by_folder = mapping.exams_from == "folder"
    if by_folder:
        exams.exams_of_folders(clips)
    else:
        exams.exams_of_acquisitions(clips)
    flow = ExclusionFlow(clips)
    _leave_out_unidentified(flow, "file_name" if by_folder else "file_path")

    clips = flow.table.copy()
    if by_folder:
        _join_folder_labels(tables, clips)
    else:
        _join_acquisition_labels(tables, clips)
    clips = clips.assign(**mapping.constants)
    clips["path"] = exams.clip_paths(clips, mapping.path)

    flow.table = clips
    if by_folder:
        _leave_out_stills(flow)
    _leave_out_repeats(flow)
    if by_folder:
        flow.leave_out(flow.table["ineligible"], "visit not eligible")
        flow.leave_out(flow.table["excluded"], "patient left out by the file of twins")
    if files_under is not None:
        _leave_out_without_file(flow, files_under)
    if mapping.min_clips_per_exam > 1:
        _leave_out_small_exams(flow, mapping.min_clips_per_exam)

    kept = flow.table
    bad = exams.bad_folders(kept) if by_folder else exams.bad_acquisitions(kept)
    tables.blame("clips", bad)
    kept = kept[kept["path"].notna()]  # the others are bad cells by now
    if kept.empty:
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
        bad=tables.bad,
        notes=tables.notes,
        files=tuple(tables.files.values()),
        flow=tuple(flow.steps),
        clips_name=tables.files["clips"].name,
    )


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
    forms = _read_forms(tables)
    form = _join_forms(tables, forms, clips)
    reports = read_reports(tables, ("reports", "sonosite_reports"))
    device_at_visit = pd.MultiIndex.from_frame(clips[["study_id", "maker"]])
    report = reports.reindex(device_at_visit).set_axis(clips.index)

    _date(tables, clips, dating.candidates(form, report))
    pocket = COLUMNS["dvp_cm"]
    report_dvp_cm = report["dvp_cm"]
    possible = report_dvp_cm.between(pocket.low, pocket.high)
    clips["dvp_cm"] = form["dvp_cm"].fillna(report_dvp_cm.where(possible))
    clips["operator"] = exams.operators(clips, says_yes(form["novice"]))
    clips["mm_per_px"] = spacing_of_videos(tables, clips)

    count = count_fetuses(tables, clips, forms["fetuses"], reports["fetuses"])
    clips["fetuses"] = count.fetuses
    clips["excluded"] = count.excluded
    # Whoever contradicts 'one' has seen two: what is not defined for twins is not asked of a
    # disputed pregnancy.
    labels = list(MASKED_FOR_MULTIPLES)
    clips[labels] = clips[labels].mask(count.disputed, axis="index")
    tables.note(
        int(count.disputed.sum()),
        "clips are of patients with forms and reports that disagree about the "
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
    studies = tables.one_row_each("studies", studies, "study_id")
    best_estimate = clips["study_id"].map(studies["ga_days"])
    clips["ga_days"], _ = dating.first_age([("boe", best_estimate)])
    clips["split_stage2"] = clips["study_id"].map(studies["split_stage2"]).astype("str")
    clips["visit_day"] = exams.days_since_first(clips, clips["ga_days"])
    form = _join_forms(tables, _read_forms(tables), clips)
    clips["dvp_cm"] = form["dvp_cm"]


def _read_forms(tables: Tables) -> pd.DataFrame:
    """The forms by ``study_id``."""
    forms = tables.read("forms")
    tables.drop_uncoded("forms", forms, "placenta")
    tables.decode("forms", forms)
    return tables.one_row_each("forms", forms, "study_id")


def _join_forms(tables: Tables, forms: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """The form of each clip's visit, row by row. Labels that need no rule go into ``clips``."""
    without_form = ~clips["study_id"].isin(forms.index)
    tables.note(_count_studies(clips, without_form), "studies have no form")
    form = forms.reindex(clips["study_id"]).set_axis(clips.index)
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
    return form


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
    is_dicom = name.str.endswith(".dcm")
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
