from __future__ import annotations

import pytest
from famli_tables import Famli

from bsou_dist.cohort.famli.devices import clean_maker, clean_model
from bsou_dist.cohort.table import read_cohort
from bsou_dist.common.errors import InputError


def test_a_clip_of_every_folder_layout(folder_layout: Famli):
    folder_layout.clip("1.2.3.dcm", day="20240110")
    folder_layout.clip(
        "4.5.mp4",
        visit=2,
        day="20240214",
        maker="Butterfly Network Inc",
        model="iQ3 Probe",
        tag="NC2",
    )
    first, second = folder_layout.read().table.to_dict("records")
    assert first["patient_id"] == "FA3-025-1001"
    assert first["study_id"] == "FA3-025-1001-1"
    assert first["exam_id"] == "FA3-025-1001-1_20240110_101500_GE_V830"
    assert second["exam_id"] == "FA3-025-1001-2_20240214_101500_Butterfly_iQ3"
    assert (first["device"], second["device"]) == ("GE V830", "Butterfly iQ3")
    assert (first["site"], first["sweep"], second["sweep"]) == ("FA3-025", "M", "C2")
    assert (first["operator"], second["operator"]) == ("expert", "novice")
    assert (first["visit_day"], second["visit_day"]) == (0, 35)
    folder = "FA3-025-1001-2_20240214_101500"
    assert (
        second["path"]
        == {
            "famli2_enrolled": f"FAMLI2_enrolled/{folder}/4.5.mp4",
            "famli2": f"FAMLI2/Ultrasound/2024-02/{folder}/4.5.mp4",
            "famli3": f"FAMLI3/Ultrasound/2024-02/{folder}/4.5.mp4",
        }[folder_layout.layout]
    )


@pytest.mark.parametrize(
    ("raw", "maker"),
    [
        ("GE Healthcare Austria GmbH & Co OG", "GE"),
        ("SonoSite, Inc.", "Sonosite"),
        ("Clarius Mobile Health", "Clarius"),
        ("Butterfly Network Inc", "Butterfly"),
        ("EchoNous Inc", "EchoNous"),
        ("generic", "generic"),
    ],
)
def test_makers_whatever_their_spelling(raw, maker):
    assert clean_maker(raw) == maker


def test_models_without_probe_and_blanks():
    assert [clean_model(raw) for raw in ("iQ+ Probe", "Voluson S", "Turbo")] == [
        "iQ+",
        "Voluson-S",
        "Turbo",
    ]


def test_text_that_is_no_device_stays_out(famli3):
    famli3.clip("a.dcm", maker="Dr. O'Name, 097-5551234", model="V830")
    famli3.clip("b.dcm", maker="GE", model="SN 1234567")
    famli3.clip("c.dcm", maker="generic", model="X-2")
    famli3.measured(
        "Gestational Age by EDD", 201, maker="Another (Name)"
    )  # unclear too, and not the same device
    cohort = famli3.read()
    assert cohort.table["device"].fillna("-").tolist() == ["-", "GE", "generic X-2"]
    assert [exam.split("_", 3)[3] for exam in cohort.table["exam_id"]] == [
        "Unknown_V830",
        "GE_Unnamed",
        "generic_X-2",
    ]
    assert cohort.table["ga_days"].isna().all()
    assert any(
        note.startswith("2 clips have a maker or model that is no plain text")
        for note in cohort.notes
    )


@pytest.mark.parametrize(
    ("patient", "site"),
    [
        ("FA3-025-1001", "FA3-025"),
        ("FAM-300-12", "FAM-300"),
        ("UNC-9999", "UNC"),
        ("VIL-1", "VIL"),
        ("FA3-025-1001-A", "-"),
        ("SMITH-12", "-"),
        ("JANE-SMITH-12", "-"),
    ],
)
def test_a_site_is_a_clinic_and_never_a_patient(famli3, patient, site):
    famli3.clip(patient=patient)
    assert famli3.read().table["site"].fillna("-").tolist() == [site]


def test_a_device_without_maker_or_model(famli3):
    famli3.clip(maker="Butterfly Network Inc", model="", file="a.mp4")
    famli3.clip(maker="", model="", file="b.mp4")
    table = famli3.read().table
    assert [exam.split("_", 3)[3] for exam in table["exam_id"]] == [
        "Butterfly_Unnamed",
        "Unknown_Unnamed",
    ]
    assert table["device"].fillna("-").tolist() == ["Butterfly", "-"]
    assert table["operator"].fillna("-").tolist() == ["expert", "expert"]


def test_an_exam_has_one_operator(famli3):
    butterfly = {"maker": "Butterfly Network Inc", "model": "iQ"}
    famli3.clip("a.mp4", tag="NM", **butterfly)
    famli3.clip("b.mp4", tag="BPD", **butterfly)  # of the same exam
    famli3.clip("c.mp4", tag="BPD", visit=2, **butterfly)  # nothing but the form tells
    famli3.clip("d.mp4", tag="", visit=3, **butterfly)
    famli3.clip(
        "e.mp4", tag="L1", visit=4, **butterfly
    )  # the tag is of this exam, the form of the visit
    famli3.form("FA3-025-1001-2", novice=1)
    famli3.form("FA3-025-1001-3", novice=0)
    famli3.form("FA3-025-1001-4", novice="yes")
    assert famli3.read().table["operator"].fillna("-").tolist() == [
        "novice",
        "novice",
        "novice",
        "-",
        "expert",
    ]


def test_a_folder_without_a_date_is_a_bad_cell_of_its_table(famli3):
    famli3.clip(folder="FA3-025-1001-1_2024-01-10")
    famli3.clip("b.dcm", folder="FA3-025-1001-1_20241310_101500")
    with pytest.raises(InputError, match="2 bad cells") as raised:
        famli3.read()
    assert (
        "famli3_it.csv line 2, PID_date_time = (not shown): a folder "
        "StudyID_YYYYMMDD_HHMMSS" in str(raised.value)
    )
    assert "famli3_it.csv line 3" in str(raised.value)


def test_corrected_tags(folder_layout: Famli):
    for file, tag in (("a.dcm", "M"), ("b.dcm", "None"), ("c.dcm", ""), ("d.dcm", "L1")):
        folder_layout.clip(file, tag=tag)
    for file, tag in (("b.dcm", "C3"), ("d.dcm", ""), ("gone.dcm", "R")):
        folder_layout.add("tag_corrections", filename=file, tag_final=tag)
    assert folder_layout.read().table["tag_raw"].fillna("-").tolist() == ["M", "C3", "-", "-"]


def test_a_file_name_alone_says_nothing_of_two_studies(famli3):
    for visit, day in ((1, "20240110"), (2, "20240214")):
        famli3.clip("a.mp4", visit=visit, day=day)
        famli3.clip(f"{visit}.mp4", visit=visit, day=day)
    for file in ("a.mp4", "1.mp4"):
        famli3.add("tag_corrections", filename=file, tag_final="C1")
        famli3.add("spacing", file=file, SequenceOfUltrasoundRegions_PhysicalDeltaX="0.02")
    famli3.add("spacing", file="2.mp4", SequenceOfUltrasoundRegions_PhysicalDeltaX="0.02")
    famli3.add("spacing", file="2.mp4", SequenceOfUltrasoundRegions_PhysicalDeltaX="0.03")
    cohort = famli3.read()
    assert cohort.table["tag_raw"].fillna("-").tolist() == ["-", "C1", "-", "M"]
    assert cohort.table["mm_per_px"].fillna(0).tolist() == [0, pytest.approx(0.2), 0, 0]
    assert (
        sum("of a file name with two values or in two studies" in note for note in cohort.notes)
        == 2
    )


def test_spacing_by_study_and_file_name(enrolled):
    for visit in (1, 2, 3):
        enrolled.clip("a.mp4", visit=visit)
    for visit, spacing in ((1, "0.02"), (2, "0.03"), (3, "")):
        enrolled.add(
            "spacing",
            filename="a.mp4",
            PIDscan=f"FA3-025-1001-{visit}",
            SequenceOfUltrasoundRegions_PhysicalDeltaX=spacing,
        )
    assert enrolled.read().table["mm_per_px"].fillna(0).tolist() == [
        pytest.approx(0.2),
        pytest.approx(0.3),
        0,
    ]


def test_headers_in_any_case_and_folders_by_pattern(tmp_path):
    layout = Famli(tmp_path, "famli3")
    layout.clip()
    layout.write()
    tables = tmp_path / "FAMLI3" / "Tabular_Data"
    instances = tables / "famli3_it.csv"
    text = instances.read_text()
    instances.write_text(
        text.replace("PIDscan", "pidSCAN").replace("NumberOfFrames", "numberofframes")
    )
    tables.rename(tmp_path / "FAMLI3" / "famli3 tabular")
    assert len(read_cohort(tmp_path, column_map="famli3").table) == 1


def acquisition(
    nejm: Famli, exam: str, *files: str, study: str = "FAM-025-9999-1", tag: str = "M"
) -> None:
    for file in files:
        nejm.add(
            "clips",
            study_id=study,
            pid="FAM-025-9999",
            study_id_with_acquisition_source=exam,
            file_path=f"SETX/{study}/{file}",
            tag=tag,
        )


def test_acquisitions_of_nejm(nejm):
    acquisition(nejm, "FAM-025-9999-1", "1.2.3", "1.2.4")
    acquisition(nejm, "FAM-025-9999-1-butterfly", "1.2.5", "1.2.6", tag="ASSBS")
    acquisition(
        nejm, "FAM-025-9999-2-novice-butterfly", "1.2.7", "1.2.8", study="FAM-025-9999-2", tag="NC2"
    )
    nejm.add(
        "studies", study_id="FAM-025-9999-1", pid="FAM-025-9999", ga_boe="160.4", set_type="Tuning"
    )
    nejm.add(
        "studies", study_id="FAM-025-9999-2", pid="FAM-025-9999", ga_boe="195.4", set_type="Tuning"
    )
    nejm.form("FAM-025-9999-1", us_lie=4, us_dvp=4.5, sc_ht=160, sc_wt=62)
    nejm.form("FAM-025-9999-2", us_lie=3)
    table = nejm.read().table
    exams = table.drop_duplicates("exam_id")
    assert exams["exam_id"].tolist() == [
        "FAM-025-9999-1",
        "FAM-025-9999-1-butterfly",
        "FAM-025-9999-2-novice-butterfly",
    ]
    assert table["path"].iloc[2] == "GA_NEJME/SETX/FAM-025-9999-1-butterfly/1.2.5"
    assert exams["device"].fillna("-").tolist() == ["-", "Butterfly", "Butterfly"]
    assert exams["operator"].tolist() == ["expert", "expert", "novice"]
    assert exams["ga_days"].tolist() == [160.4, 160.4, 195.4]
    assert exams["visit_day"].tolist() == [0, 0, 35]
    assert exams["presentation"].fillna("-").tolist() == ["-", "-", "non_cephalic"]
    assert exams["dvp_cm"].fillna(0).tolist() == [4.5, 4.5, 0]
    assert table["sweep"].fillna("-").tolist() == ["M", "M", "-", "-", "C2", "C2"]
    assert table["clip_class"].eq("blind").all()
    assert set(table["ga_source"]) == {"boe"}
    assert set(table["fetuses"]) == {1.0}
    assert set(table["split_stage2"]) == {"valid"}


def test_nejm_without_forms_studies_or_gestational_age(nejm):
    acquisition(nejm, "FAM-025-9999-1", "1.2.3", "1.2.4")
    acquisition(nejm, "FAM-025-9999-2", "1.2.5", "1.2.6", study="FAM-025-9999-2")
    nejm.add("studies", study_id="FAM-025-9999-1", ga_boe=".", set_type="Training")
    nejm.write()
    (nejm.root / "FAMLI2_enrolled/Tabular_data/FAMLI2_case_report_forms.xlsx").unlink()
    cohort = read_cohort(nejm.root, column_map="nejm_v4")
    assert cohort.table[["ga_days", "ga_source", "presentation", "visit_day"]].isna().all(axis=None)
    assert cohort.table["split_stage2"].fillna("-").tolist() == ["train", "train", "-", "-"]
    assert any(
        "FAMLI2_case_report_forms.xlsx: what it tells is missing" in note for note in cohort.notes
    )


def test_a_path_of_nejm_has_three_parts(nejm):
    acquisition(nejm, "FAM-025-9999-1", "1.2", "deeper/1.3")
    message = r"line 3, file_path = \(not shown\): a path of three parts"
    with pytest.raises(InputError, match=message):
        nejm.read()


def test_of_several_files_of_corrections_the_latest_counts(famli3):
    famli3.clip("a.dcm", tag="M")
    famli3.add("tag_corrections", filename="a.dcm", tag_final="C1")
    famli3.write()
    corrections = famli3.root / "FAMLI_corrections_GHL"
    (corrections / "FAMLI3_tag_corrections_20250101.csv").write_text(
        "filename,tag_final\na.dcm,C3\n"
    )
    assert read_cohort(famli3.root, column_map="famli3").table["tag_raw"].tolist() == ["C1"]
    (corrections / "FAMLI3_tag_corrections_20260101.csv").write_text(
        "filename,tag_final\na.dcm,C2\n"
    )
    (corrections / "FAMLI3_tag_corrections_20260101_old.csv").write_text(
        "filename,tag_final\na.dcm,R\n"
    )
    (corrections / "FAMLI3_tag_corrections_new.csv").write_text("filename,tag_final\na.dcm,R\n")
    cohort = read_cohort(famli3.root, column_map="famli3")
    assert cohort.table["tag_raw"].tolist() == ["C2"]
    assert any(
        note.startswith("5 files fit ")
        and note.endswith("FAMLI3_tag_corrections_20260101.csv was read")
        for note in cohort.notes
    )
