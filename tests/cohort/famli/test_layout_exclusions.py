from __future__ import annotations

import pandas as pd
import pytest
from famli_tables import Famli

from bsou_dist.cohort.exclusions import FlowStep
from bsou_dist.cohort.table import read_cohort
from bsou_dist.common.errors import InputError


def lost(cohort) -> dict[str, int]:
    """Clips left out by reason, where there were any."""
    return {
        step.reason: before.clips - step.clips
        for before, step in zip(cohort.flow, cohort.flow[1:], strict=False)
        if step.clips < before.clips
    }


def touch(cohort) -> None:
    for path in cohort.table["path"]:
        file = cohort.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_what_is_no_clip_is_left_out_and_counted(folder_layout: Famli):
    folder_layout.clip("a.dcm")
    folder_layout.clip("a.dcm", tag="L")  # the same file again
    folder_layout.clip("b.PNG")
    folder_layout.clip("c.dcm", frames="1")
    folder_layout.clip("d.dcm", frames="")
    folder_layout.clip("e.dcm", frames="2.0")
    folder_layout.clip("f.mp4", frames="1")
    folder_layout.clip("")
    folder_layout.clip("g.dcm", patient="", study="")
    folder_layout.clip("h.mov")
    folder_layout.clip("i")
    cohort = folder_layout.read()
    assert [path.rsplit("/", 1)[1] for path in cohort.table["path"]] == ["a.dcm", "e.dcm", "f.mp4"]
    assert lost(cohort) == {
        "no patient or study id": 1,
        "no file name": 1,
        "still image": 3,
        "not a video": 2,
        "listed before": 1,
    }
    assert cohort.flow[0] == FlowStep("as found", 1, 1, 2, 11)
    assert cohort.flow[-1] == FlowStep(cohort.flow[-1].reason, 1, 1, 1, 3)


def test_a_name_in_two_studies_is_two_clips_and_a_uid_is_none(folder_layout: Famli):
    for patient in ("FA3-025-1001", "FA3-111-2222"):
        folder_layout.clip("IM1.dcm", patient=patient)
        folder_layout.clip("1.2.840.99.7.DCM", patient=patient)
    cohort = folder_layout.read()
    assert [path.rsplit("/", 1)[1] for path in cohort.table["path"]] == ["IM1.dcm"] * 2
    assert lost(cohort) == {"one file in two studies": 2}


def test_a_name_in_two_exams_of_a_study_is_two_clips_and_a_uid_is_one(folder_layout: Famli):
    for time in ("101500", "113000"):
        folder_layout.clip("IM1.dcm", folder=f"FA3-025-1001-1_20240110_{time}")
        folder_layout.clip("1.2.840.99.7.dcm", folder=f"FA3-025-1001-1_20240110_{time}")
    cohort = folder_layout.read()
    assert len(cohort.table) == 3
    assert lost(cohort) == {"listed before": 1}


def test_clips_of_another_patients_folder_or_study_are_nobodys(folder_layout: Famli):
    folder_layout.clip("a.dcm", day="20240110")
    folder_layout.clip("b.dcm", folder="FA3-111-2222-1_20230110_101500")
    folder_layout.clip("c.dcm", study="FA3-111-2222-1")
    folder_layout.clip("d.dcm", study="FA3-025-1001")
    folder_layout.clip("e.dcm", folder="FA3-025-1001-2_20240110_101500")
    cohort = folder_layout.read()
    assert [path.rsplit("/", 1)[1] for path in cohort.table["path"]] == ["a.dcm"]
    assert lost(cohort) == {"ids contradict one another": 4}
    assert cohort.table["visit_day"].tolist() == [0]  # the other patient's date counts for nothing
    folder_layout.tables["clips"].pop(0)
    with pytest.raises(
        InputError, match=r"no clip of .* is left. 4 clips were found; left out were ids contra"
    ):
        folder_layout.read()


def test_acquisitions_of_another_study_are_nobodys(nejm):
    for study, exam in (
        ("FAM-025-1001-1", "FAM-025-1001-1"),
        ("FAM-025-1001-1", "FAM-025-1001-1-novice-butterfly"),
        ("FAM-025-1001-1", "FAM-025-7777-2-butterfly"),
        ("FAM-025-1001-1", "FAM-025-1001-12"),
    ):
        for file in ("1", "2"):
            nejm.add(
                "clips",
                study_id=study,
                pid="FAM-025-1001",
                study_id_with_acquisition_source=exam,
                file_path=f"SETX/{study}/{file}",
                tag="M",
            )
    cohort = nejm.read()
    assert set(cohort.table["exam_id"]) == {"FAM-025-1001-1", "FAM-025-1001-1-novice-butterfly"}
    assert lost(cohort) == {"ids contradict one another": 4}


def test_ids_in_any_case_and_with_blanks_meet(folder_layout: Famli):
    folder_layout.clip(
        patient="fa3-025-1001 ", study=" fa3-025-1001-1", folder="fa3-025-1001-1_20240110_101500"
    )
    folder_layout.form("FA3-025-1001-1", ega=195)
    folder_layout.clip("b.dcm", visit=2)
    cohort = folder_layout.read()
    assert set(cohort.table["patient_id"]) == {"FA3-025-1001"}
    assert cohort.table["ga_days"].fillna(0).tolist() == [195, 0]
    assert "/fa3-025-1001-1_20240110_101500/" in cohort.table["path"][0]  # as it is on disk
    assert any(note == "1 studies have no form" for note in cohort.notes)


@pytest.mark.parametrize("layout", ["famli2_enrolled", "famli2"])
def test_visits_that_are_not_eligible(tmp_path, layout):
    famli = Famli(tmp_path, layout)
    for visit, eligible in enumerate(("1", "Eligible", "", "0", "Not eligible"), start=1):
        famli.clip(f"{visit}.dcm", visit=visit)
        famli.form(f"FA3-025-1001-{visit}", eligible=eligible)
    famli.clip("6.dcm", visit=6)  # no form at all
    cohort = famli.read()
    assert cohort.table["study_id"].str[-1].tolist() == ["1", "2", "3", "6"]
    assert lost(cohort) == {"visit not eligible": 2}


def test_paths_out_of_the_corpus_are_left_out_and_listed(enrolled):
    enrolled.clip("a.dcm")
    enrolled.clip("b.dcm", folder="../../FA3-025-1001-1_20240110_101500")
    enrolled.clip("../../../c.dcm")
    cohort = enrolled.read()
    assert [path.rsplit("/", 1)[1] for path in cohort.table["path"]] == ["a.dcm"]
    assert lost(cohort) == {"exam or path unreadable": 2}
    assert [(cell.line, cell.resolved) for cell in cohort.set_aside] == [
        (3, "left out"),
        (4, "left out"),
    ]


def test_missing_files_are_counted_only_when_looked_for(folder_layout: Famli):
    for file in ("a.dcm", "b.dcm", "c.mp4"):
        folder_layout.clip(file)
    cohort = folder_layout.read()
    touch(cohort)
    (cohort.root / cohort.table["path"][1]).unlink()
    looked = folder_layout.read(check_files=True)
    assert (lost(cohort), lost(looked)) == ({}, {"file not there": 1})
    assert looked.table["path"].tolist() == cohort.table["path"].drop(1).tolist()
    elsewhere = folder_layout.root / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(
        InputError,
        match=r"no clip of .* is left. 3 clips were found; left out were file not there: 3",
    ):
        folder_layout.read(check_files=True, root=elsewhere)


def test_exams_of_nejm_need_two_files(nejm):
    for exam, file in (
        ("S-1", "1"),
        ("S-1", "2"),
        ("S-1-butterfly", "3"),
        ("S-2", "4"),
        ("S-2", "5"),
        ("S-2", "6"),
    ):
        nejm.add(
            "clips",
            study_id=exam[:3],
            pid="S",
            study_id_with_acquisition_source=exam,
            file_path=f"X/e/{file}",
            tag="M",
        )
    cohort = nejm.read()
    assert lost(cohort) == {"fewer than 2 clips in the exam": 1}
    touch(cohort)
    (cohort.root / cohort.table["path"].iloc[0]).unlink()
    looked = nejm.read(check_files=True)
    assert set(looked.table["exam_id"]) == {"S-2"}
    assert lost(looked) == {"file not there": 2, "fewer than 2 clips in the exam": 1}


def test_a_table_of_ones_own_has_nothing_left_out(write_cohort, clip_row):
    cohort = read_cohort(write_cohort(clip_row(), clip_row(path="b.mp4")))
    assert cohort.flow == (FlowStep("as found", 1, 1, 1, 2),)


def test_a_folder_that_is_no_layout(tmp_path, write_cohort, clip_row):
    with pytest.raises(
        InputError, match="needs a column map: one of acouslic, famli2, famli2_enrolled, famli3, "
    ):
        read_cohort(tmp_path)
    with pytest.raises(
        InputError, match="is no folder; this column map reads the tables of a folder"
    ):
        read_cohort(write_cohort(clip_row()), column_map="famli3")
    with pytest.raises(
        InputError,
        match=r"has no FAMLI3/\*tabular\*/famli3_it.csv; it must be the folder that holds",
    ):
        read_cohort(tmp_path, column_map="famli3")


def test_a_column_that_is_not_there(famli3, tmp_path):
    famli3.clip()
    famli3.write()
    forms = tmp_path / "FAMLI3/Tabular_Data/famli3_crf.csv"
    forms.write_text(forms.read_text().replace("us_dvp_ge", "us_dvp"))
    with pytest.raises(
        InputError, match=r"famli3_crf\.csv has no column 'us_dvp_ge', which the column map names"
    ):
        read_cohort(tmp_path, column_map="famli3")
    own = tmp_path / "own.yaml"
    own.write_text("base: famli3\ntables: {forms: {columns: {dvp_cm: us_dvp}}}\n")
    assert len(read_cohort(tmp_path, column_map=own).table) == 1
    own.write_text(
        "base: famli3\ntables: {forms: {columns: {dvp_cm: null}}}\nconstants: {site: here}\n"
    )
    assert read_cohort(tmp_path, column_map=own).table["site"].tolist() == ["here"]


def test_a_workbook_that_is_none_or_has_another_sheet(tmp_path):
    enrolled = Famli(tmp_path, "famli2_enrolled")
    enrolled.clip()
    enrolled.write()
    book = tmp_path / "FAMLI2_enrolled/Tabular_data/FAMLI2_case_report_forms.xlsx"
    pd.DataFrame({"pidscan": ["x"]}).to_excel(book, index=False, sheet_name="CRF")
    with pytest.raises(InputError, match="has no sheet 'FAMLI2 CRFs'; it has 'CRF'"):
        read_cohort(tmp_path, column_map="famli2_enrolled")
    book.write_text("pidscan,us_lie\n")
    with pytest.raises(InputError, match="is not an Excel workbook"):
        read_cohort(tmp_path, column_map="famli2_enrolled")
