"""Exam of a clip: its file, its day, its device and its operator.

The ``exams_of_*`` functions work on the table of clips in place and leave cells missing that they
can't read; the ``bad_*`` functions name those.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd

from bsou_dist.cohort.bad_cells import BadCell, bad_cells
from bsou_dist.cohort.famli.devices import NO_MAKER, NO_MODEL, each, makers, models
from bsou_dist.cohort.famli.tags import read_tag

_FOLDER = re.compile(r"([^_]+)_(\d{8})_\d{6}")
_FIELD = re.compile(r"\{(\w+)\}")
_CLINIC = r"^([A-Z]{2,3}\d?-\d{3}|UNC|VIL)-\d+$"
NEJM_FOLDER = "GA_NEJME"
_THREE_PARTS = "a path of three parts, such as set/exam/file"
UID = r"\d+(\.\d+){2,}(\.[a-z]\w*)?"  # with or without an ending
"""Pattern of a file's name that is a DICOM UID."""


def exams_of_acquisitions(clips: pd.DataFrame) -> None:
    """Read exams off a table that names them.

    The name is a StudyID, with '-butterfly' for that probe and '-novice' for that operator.
    """
    exam = clips["exam_id"].str.lower()
    butterfly = exam.str.endswith("-butterfly")
    clips["device"] = butterfly.map({True: "Butterfly", False: None}).astype("str")
    novice = exam.str.contains("novice").where(exam.notna())
    clips["operator"] = novice.map({True: "novice", False: "expert"}).astype("str")
    paths = clips["file_path"].str.strip("/")
    parts = [_parts_of_path(*cells) for cells in zip(paths, clips["study_id"], exam, strict=True)]
    clips["set_folder"] = pd.Series([part[0] for part in parts], clips.index, dtype="str")
    clips["file_name"] = pd.Series([part[1] for part in parts], clips.index, dtype="str")
    clips["study_of_exam"] = exam.str.replace(r"(-[a-z]+)+$", "", regex=True).str.upper()


def _parts_of_path(path: object, study: object, exam: object) -> tuple[str | None, str | None]:
    """What stands before and after the exam's folder in a path.

    That folder is the part that names the study or the exam, else the second one.
    """
    if not isinstance(path, str):
        return None, None
    parts = path.split("/")
    names = [part.lower() for part in parts]
    place = next((names.index(str(key).lower()) for key in (exam, study) if _is_in(key, names)), 1)
    before, after = parts[:place], parts[place + 1 :]
    if before[:1] == [NEJM_FOLDER]:  # which the template of a clip's path adds
        before = before[1:]
    if not before or not after:
        return None, None
    return "/".join(before), "/".join(after)


def _is_in(key: object, names: list[str]) -> bool:
    return isinstance(key, str) and key.lower() in names


def bad_acquisitions(clips: pd.DataFrame) -> list[BadCell]:
    """Clips without an exam, or whose path has not three parts."""
    left_out = "left out"
    without_exam = bad_cells(clips, "exam_id", clips["exam_id"].isna(), "an exam's name")
    folderless = clips["set_folder"].isna()
    bad_paths = bad_cells(clips, "file_path", folderless, _THREE_PARTS)
    several = ~folderless & clips["file_path"].str.strip("/").str.count("/").ne(2)
    odd_paths = bad_cells(clips, "file_path", several, _THREE_PARTS)
    return [
        *(replace(cell, resolved=left_out) for cell in without_exam + bad_paths),
        *(replace(cell, resolved="read by the part that names the exam") for cell in odd_paths),
    ]


def exams_of_folders(clips: pd.DataFrame) -> None:
    """Read exams off folders: each is a folder StudyID_YYYYMMDD_HHMMSS, a maker and a model."""
    clips["exam_folder"] = clips["exam_folder"].str.strip("/")
    names = {path: path.rpartition("/")[2] for path in clips["exam_folder"].dropna().unique()}
    folder = each(clips["exam_folder"], names)

    studies: dict[str, str | None] = {}
    date_texts: dict[str, str] = {}
    for name in names.values():
        parts = _FOLDER.fullmatch(name)
        if parts:
            studies[name] = parts[1].upper()
            date_texts[name] = parts[2]
    dates = pd.to_datetime(pd.Series(date_texts, dtype="str"), format="%Y%m%d", errors="coerce")
    clips["study_of_exam"] = each(folder, studies)
    clips["month"] = folder.map(dates.dt.strftime("%Y-%m")).astype("str")
    clips["day"] = folder.map((dates - pd.Timestamp(0)).dt.days)

    maker = makers(clips["maker"])
    model = models(clips["model"])
    unclear_maker = clips["maker"].notna() & maker.isna()
    unclear_model = clips["model"].notna() & model.isna()
    clips["unclear_device"] = unclear_maker | unclear_model
    clips["maker"] = maker
    clips["device"] = (maker + " " + model.fillna("")).str.strip().astype("str")
    exam = folder + "_" + maker.fillna(NO_MAKER) + "_" + model.fillna(NO_MODEL)
    clips["exam_id"] = exam.astype("str")


def bad_folders(clips: pd.DataFrame) -> list[BadCell]:
    """Clips whose exam folder has no date."""
    undated = clips["month"].isna()
    cells = bad_cells(clips, "exam_folder", undated, "a folder StudyID_YYYYMMDD_HHMMSS")
    return [replace(cell, resolved="left out") for cell in cells]


def patients_of(study_ids: pd.Series) -> pd.Series:
    """Patient that a StudyID names: all but the counter of visits at its end.

    Missing where it has no such counter.
    """
    return study_ids.str.extract(r"^(.+)-\d+$")[0].astype("str")


def contradicting(clips: pd.DataFrame) -> pd.Series:
    """Clips whose ids contradict one another, so that nobody can tell whose they are."""
    of_exam = clips["study_of_exam"]
    another_patient = patients_of(clips["study_id"]).ne(clips["patient_id"])
    another_study = of_exam.notna() & of_exam.ne(clips["study_id"])
    return another_patient | another_study


def clinics_of(patient_ids: pd.Series) -> pd.Series:
    """Clinic in an id of one of the documented forms. Any part of another id may be a name.

    A clinic of Zambia is one whether the study calls it FA3 or FAM.
    """
    clinics = patient_ids.str.extract(_CLINIC)[0].astype("str")
    return clinics.str.replace(r"^FA3-", "FAM-", regex=True)


def instances_of(clips: pd.DataFrame) -> pd.Series:
    """Identity of each recording: a file's name that is a DICOM UID, else the file's path."""
    names = clips["file_name"]
    is_uid = names.str.fullmatch(UID, case=False)
    return names.where(is_uid, clips["path"])


def clip_paths(clips: pd.DataFrame, template: str) -> pd.Series:
    """Template with the cells of each clip in its {fields}; missing where one of them is."""
    paths = pd.Series("", index=clips.index, dtype="str")
    for place, part in enumerate(_FIELD.split(template)):
        is_field = place % 2 == 1  # the pattern has a group, so texts and fields take turns
        paths = paths + (clips[part] if is_field else part)
    return paths


def days_since_first(clips: pd.DataFrame, day: pd.Series) -> pd.Series:
    """Whole days from the patient's first ``day`` to each clip's, by any count of days."""
    first = day.groupby(clips["patient_id"]).transform("min")
    return (day - first).round().astype("float64")


def operators(clips: pd.DataFrame, novice_form: pd.Series) -> pd.Series:
    """Operator of each exam: 'expert', 'novice' or missing.

    A tag with a leading N makes its whole exam a novice's, since an exam has one operator; a blind
    sweep without it an expert's. Without any blind sweep, novices use Butterfly probes alone, and
    then the visit's form decides.

    Args:
        clips: with ``exam_id``, ``tag_raw`` (corrected) and ``maker``.
        novice_form: boolean by clip: the form says that a novice scanned at this visit.
    """
    novice_tags, expert_tags = [], []
    for tag in clips["tag_raw"].dropna().unique():
        meaning = read_tag(tag)
        if meaning.novice:
            novice_tags.append(tag)
        elif meaning.clip_class == "blind":
            expert_tags.append(tag)

    def exam_has(tags: list[str]) -> pd.Series:
        tagged = clips["tag_raw"].isin(tags)
        return clips["exam_id"].isin(clips.loc[tagged, "exam_id"])

    butterfly = clips["maker"].eq("Butterfly")
    other_maker = clips["maker"].notna() & ~butterfly
    operator = pd.Series(None, index=clips.index, dtype="str")
    # from the weakest sign to the strongest
    operator = operator.mask(butterfly & novice_form, "novice")
    operator = operator.mask(other_maker, "expert")
    operator = operator.mask(exam_has(expert_tags), "expert")
    return operator.mask(exam_has(novice_tags), "novice")
