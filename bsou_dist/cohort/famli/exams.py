"""Which exam a clip belongs to, where its file is, on which day and with which device and operator
it was recorded.

Every function works on the table of clips in place and leaves cells missing that it can't read;
``bad_*`` functions name those.
"""

from __future__ import annotations

import re

import pandas as pd

from bsou_dist.cohort.bad_cells import BadCell, bad_cells
from bsou_dist.cohort.famli.devices import NO_MAKER, NO_MODEL, each, makers, models
from bsou_dist.cohort.famli.tags import read_tag

_FOLDER = re.compile(r"([^_]+)_(\d{8})_\d{6}")
_FIELD = re.compile(r"\{(\w+)\}")
_CLINIC = r"^([A-Z]{2,3}\d?-\d{3}|UNC|VIL)-\d+$"
_UID = r"\d+(\.\d+){2,}(\.[a-z]\w*)?"  # with or without an ending


def exams_of_acquisitions(clips: pd.DataFrame) -> None:
    """The table names the exam: a StudyID, '-butterfly' for that probe, '-novice' for that
    operator.
    """
    exam = clips["exam_id"].str.lower()
    clips["device"] = (
        exam.str.endswith("-butterfly").map({True: "Butterfly", False: None}).astype("str")
    )
    novice = exam.str.contains("novice").where(exam.notna())
    clips["operator"] = novice.map({True: "novice", False: "expert"}).astype("str")
    parts = clips["file_path"].str.extract(r"^([^/]+)/[^/]+/([^/]+)$")
    clips["set_folder"], clips["file_name"] = parts[0].astype("str"), parts[1].astype("str")
    clips["study_of_exam"] = exam.str.replace(r"(-[a-z]+)+$", "", regex=True).str.upper()


def bad_acquisitions(clips: pd.DataFrame) -> list[BadCell]:
    """Clips without an exam, or whose path has not three parts."""
    return bad_cells(clips, "exam_id", clips["exam_id"].isna(), "may not be empty") + bad_cells(
        clips,
        "file_path",
        clips["set_folder"].isna(),
        "a path of three parts, such as set/exam/file",
    )


def exams_of_folders(clips: pd.DataFrame) -> None:
    """An exam is a folder StudyID_YYYYMMDD_HHMMSS, a maker and a model."""
    clips["exam_folder"] = clips["exam_folder"].str.strip("/")
    names = {cell: cell.rpartition("/")[2] for cell in clips["exam_folder"].dropna().unique()}
    parts = {name: found for name in names.values() if (found := _FOLDER.fullmatch(name))}
    dates = pd.Series({name: found[2] for name, found in parts.items()}, dtype="str")
    dates = pd.to_datetime(dates, format="%Y%m%d", errors="coerce")
    folder = each(clips["exam_folder"], names)
    clips["study_of_exam"] = each(folder, {name: found[1].upper() for name, found in parts.items()})
    clips["month"] = folder.map(dates.dt.strftime("%Y-%m")).astype("str")
    clips["day"] = folder.map((dates - pd.Timestamp(0)).dt.days)
    maker, model = makers(clips["maker"]), models(clips["model"])
    clips["unclear_device"] = (
        clips["maker"].notna() & maker.isna() | clips["model"].notna() & model.isna()
    )
    clips["maker"] = maker
    clips["device"] = (maker + " " + model.fillna("")).str.strip().astype("str")
    clips["exam_id"] = (
        folder + "_" + maker.fillna(NO_MAKER) + "_" + model.fillna(NO_MODEL)
    ).astype("str")


def bad_folders(clips: pd.DataFrame) -> list[BadCell]:
    """Clips whose exam folder has no date."""
    return bad_cells(
        clips, "exam_folder", clips["month"].isna(), "a folder StudyID_YYYYMMDD_HHMMSS"
    )


def patients_of(study_ids: pd.Series) -> pd.Series:
    """The patient that a StudyID names: all but the counter of visits at its end; missing where it
    has none.
    """
    return study_ids.str.extract(r"^(.+)-\d+$")[0].astype("str")


def contradicting(clips: pd.DataFrame) -> pd.Series:
    """Clips whose patient, study and exam do not name one another: nobody can tell whose they
    are.
    """
    exam = clips["study_of_exam"]
    return patients_of(clips["study_id"]).ne(clips["patient_id"]) | exam.notna() & exam.ne(
        clips["study_id"]
    )


def clinics_of(patient_ids: pd.Series) -> pd.Series:
    """The clinic in an id of one of the documented forms. Any part of another id may be a name."""
    return patient_ids.str.extract(_CLINIC)[0].astype("str")


def instances_of(clips: pd.DataFrame) -> pd.Series:
    """What tells a recording: a file's name that is a DICOM UID, wherever the file lies; else its
    path.
    """
    return clips["file_name"].where(
        clips["file_name"].str.fullmatch(_UID, case=False), clips["path"]
    )


def clip_paths(clips: pd.DataFrame, template: str) -> pd.Series:
    """A template's text with the cells of each clip in place of its {fields}; missing where one of
    them is.
    """
    paths = pd.Series("", index=clips.index, dtype="str")
    for place, part in enumerate(_FIELD.split(template)):
        paths = paths + (clips[part] if place % 2 else part)
    return paths


def days_since_first(clips: pd.DataFrame, day: pd.Series) -> pd.Series:
    """Whole days from the patient's first ``day`` to each clip's, by any count of days."""
    return (day - day.groupby(clips["patient_id"]).transform("min")).round().astype("float64")


def operators(clips: pd.DataFrame, novice_form: pd.Series) -> pd.Series:
    """Who recorded each exam: 'expert', 'novice' or missing.

    A tag with a leading N makes its whole exam a novice's, since an exam has one operator; a blind
    sweep without it an expert's. Without any blind sweep, novices use Butterfly probes alone, and
    then the visit's form decides.

    Args:
        clips: with ``exam_id``, ``tag_raw`` (corrected) and ``maker``.
        novice_form: boolean by clip: the form says that a novice scanned at this visit.
    """
    meanings = {tag: read_tag(tag) for tag in clips["tag_raw"].dropna().unique()}
    exam = clips["exam_id"]

    def some(tags: set[str]) -> pd.Series:
        return exam.isin(exam[clips["tag_raw"].isin(list(tags))])

    by_novice = some({tag for tag, meaning in meanings.items() if meaning.novice})
    by_expert = some(
        {
            tag
            for tag, meaning in meanings.items()
            if meaning.clip_class == "blind" and not meaning.novice
        }
    )
    butterfly = clips["maker"].eq("Butterfly")
    found = pd.Series(None, index=clips.index, dtype="str")
    found = found.mask(butterfly & novice_form, "novice").mask(
        clips["maker"].notna() & ~butterfly, "expert"
    )
    return found.mask(by_expert, "expert").mask(by_novice, "novice")
