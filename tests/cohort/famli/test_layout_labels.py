from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from famli_tables import Famli

from bsou_dist.cohort.famli.dating import hadlock_ga_days, robinson_ga_days
from bsou_dist.cohort.famli.forms import bmi, is_ineligible, says_yes
from bsou_dist.common.errors import InputError

BUTTERFLY = {"maker": "Butterfly Network Inc", "model": "iQ"}


def column(layout: Famli, name: str, **options: object) -> list[object]:
    values = layout.read(**options).table[name]
    return values.astype(object).where(values.notna(), None).tolist()


@pytest.mark.parametrize(
    ("layout", "meanings"),
    [
        (
            "famli3",
            {
                "1": "cephalic",
                "2.0": "non_cephalic",
                "3": "non_cephalic",
                "4": None,
                "5": "non_cephalic",
                "-88": None,
                "": None,
            },
        ),
        (
            "famli2",
            {
                "Cephalic": "cephalic",
                "Breech": "non_cephalic",
                "Transverse": "non_cephalic",
                "Variable / NA": None,
                "Oblique": "non_cephalic",
                "-88": None,
                "": None,
            },
        ),
        ("famli2_enrolled", {"1": "cephalic", "2": "non_cephalic", "4": None, "": None}),
    ],
)
def test_presentation_by_code(tmp_path, layout, meanings):
    famli = Famli(tmp_path, layout)
    for visit, code in enumerate(meanings, start=1):
        famli.clip(f"{visit}.dcm", visit=visit)
        famli.form(f"FA3-025-1001-{visit}", us_lie=code)
    assert column(famli, "presentation") == list(meanings.values())


def test_an_unknown_code_is_named_once_with_its_table_and_line(famli3):
    for visit in (1, 2, 3):
        famli3.clip(f"{visit}.dcm", visit=visit)
        famli3.clip(f"{visit}b.dcm", visit=visit)
        famli3.form(f"FA3-025-1001-{visit}", us_lie=visit * 3, ega="abc" if visit == 3 else 999)
    with pytest.raises(InputError) as raised:
        famli3.read()
    message = str(raised.value)
    assert "5 bad cells" in message
    assert "famli3_crf.csv line 2, ega = 999: a number from 0 to 330 days, or empty" in message
    assert (
        "famli3_crf.csv line 3, us_lie = '6': the column map knows the codes 1, 2, 3, 4, 5"
        in message
    )
    assert "famli3_crf.csv line 4, ega = (not shown): a number or an empty cell" in message


def test_placenta_needs_a_map_of_ones_own(famli3, tmp_path):
    for visit, code in ((1, 1), (2, 2), (3, 3), (4, "anterior")):
        famli3.clip(f"{visit}.dcm", visit=visit)
        famli3.form(f"FA3-025-1001-{visit}", us_plac=code)
    cohort = famli3.read()
    assert cohort.table["placenta"].isna().all()
    assert any(
        "us_plac of famli3_crf.csv holds '1', '2', '3', 'anterior', and no map says what they mean"
        in note
        for note in cohort.notes
    )
    own = tmp_path / "own.yaml"
    own.write_text(
        "base: famli3\ncodes: {placenta: {1: anterior, 2: posterior, 3: fundal, anterior: "
        "anterior}}\n"
    )
    assert column(famli3, "placenta", column_map=own) == ["anterior", "posterior", None, "anterior"]
    own.write_text(
        "base: famli3\ncodes: {placenta: {1: anterior, 2: posterior, anterior: anterior}}\n"
    )
    with pytest.raises(
        InputError,
        match=r"famli3_crf\.csv line 4, us_plac = '3': the column map knows the codes 1, 2",
    ):
        famli3.read(column_map=own)


def test_forms_hold_for_all_exams_of_a_visit_and_reports_for_their_maker(folder_layout: Famli):
    folder_layout.clip("a.dcm")
    folder_layout.clip("b.mp4", tag="NM", **BUTTERFLY)
    folder_layout.form(us_lie="Breech" if folder_layout.layout == "famli2" else 2, us_twin=1)
    folder_layout.measured("Gestational Age by EDD", 201)
    folder_layout.measured("Max Vertical Pocket", 45, text="45 mm")
    table = folder_layout.read().table
    assert table["presentation"].tolist() == ["non_cephalic"] * 2
    assert table["fetuses"].tolist() == [1, 1]
    assert table["ga_days"].fillna(0).tolist() == [201, 0]
    assert table["ga_source"].fillna("-").tolist() == ["edd", "-"]
    assert table["dvp_cm"].fillna(0).tolist() == [4.5, 0]


def test_a_form_comes_before_reports(folder_layout: Famli):
    folder_layout.clip()
    folder_layout.form(
        ega=195, **{"us_dvp_ge" if folder_layout.layout == "famli3" else "us_dvp": 3.5}
    )
    folder_layout.measured("Gestational Age by EDD", 201)
    folder_layout.measured("Max Vertical Pocket", 4.5, text="4.5 cm")
    assert column(folder_layout, "ga_days") == [195]
    assert column(folder_layout, "ga_source") == ["form"]
    assert column(folder_layout, "dvp_cm") == [3.5]


def test_weeks_and_days_of_famli3(famli3):
    famli3.clip()
    famli3.form(us_wks=27, us_day=6)
    famli3.measured("Gestational Age by EDD", 201)
    assert column(famli3, "ga_days") == [195]


def test_one_exam_of_two_visits_of_a_form_that_says_two_things(famli3):
    famli3.clip()
    famli3.form(ega=195)
    famli3.form(ega=195)  # the same again is no contradiction
    assert column(famli3, "ga_days") == [195]
    famli3.form(ega=196)
    with pytest.raises(
        InputError,
        match=r"famli3_crf.csv line 4, PIDscan = \(repeated\): one row each; another row, "
        "line 2, says something else",
    ):
        famli3.read()


def test_repeats_of_a_pocket(famli3):
    cases = [
        ([("40", "40 mm", ""), ("60", "60 mm", "")], 6.0),  # fluid: the largest
        ([("4", "4 cm", ""), ("60", "60 mm", "")], 6.0),
        ([("4", "4 cm", ""), ("60", "60 mm", ""), ("5", "5 cm", "Max")], 5.0),
        ([("4", "", ""), ("", "", "")], 4.0),
        ([("450", "450 cm", "")], None),
    ]
    for visit, (rows, _) in enumerate(cases, start=1):
        famli3.clip(f"{visit}.dcm", visit=visit)
        for value, text, derivation in rows:
            famli3.measured(
                "Max Vertical Pocket",
                value,
                text=text,
                derivation=derivation,
                study=f"FA3-025-1001-{visit}",
            )
    assert column(famli3, "dvp_cm") == [dvp_cm for _, dvp_cm in cases]


def test_a_mean_row_wins_over_the_rows_it_was_made_of(famli3):
    famli3.clip()
    for value, derivation in ((200, ""), (204, ""), (203, "MEAN")):
        famli3.measured("Gestational Age by EDD", value, derivation=derivation)
    assert column(famli3, "ga_days") == [203]
    famli3.tables["reports"].pop()
    assert column(famli3, "ga_days") == [202]


def test_an_age_of_none_gives_way_to_the_next_source(folder_layout: Famli):
    for visit, days in enumerate((0, 27.9, 43), start=1):
        folder_layout.clip(f"{visit}.dcm", visit=visit)
        folder_layout.form(f"FA3-025-1001-{visit}", ega=days)
    folder_layout.measured("Gestational Age by EDD", 201)
    cohort = folder_layout.read()
    assert cohort.table["ga_days"].fillna(0).tolist() == [201, 0, 43]
    assert cohort.table["ga_source"].fillna("-").tolist() == ["edd", "-", "form"]
    assert any(
        note.startswith("2 visits have a gestational age below 43 days") for note in cohort.notes
    )


def test_an_age_of_none_in_nejm(nejm):
    for visit, days in ((1, "0"), (2, "63")):
        nejm.add("studies", study_id=f"S-{visit}", ga_boe=days, set_type="Training")
        for file in ("a", "b"):
            nejm.add(
                "clips",
                study_id=f"S-{visit}",
                pid="S",
                study_id_with_acquisition_source=f"S-{visit}",
                file_path=f"X/e/{file}",
                tag="M",
            )
    assert nejm.read().table["ga_days"].fillna(-1).tolist() == [-1, -1, 63, 63]


def test_sources_of_an_age_that_disagree_are_noted(famli3):
    for visit, (days, weeks) in enumerate(((150, 31), (217, 29), (217, "")), start=1):
        famli3.clip(f"{visit}.dcm", visit=visit, day="20240110")
        famli3.form(f"FA3-025-1001-{visit}", ega=days, us_wks=weeks)
    cohort = famli3.read()
    assert cohort.table["ga_days"].tolist() == [150, 217, 217]
    assert (
        sum(note.startswith("1 visits have sources of gestational age") for note in cohort.notes)
        == 1
    )


@pytest.mark.parametrize(
    ("days", "ages", "noted"),
    [
        (("20240101", "20240201"), (100, 131), False),
        (("20240101", "20240201"), (100, 117), False),
        (("20240101", "20240201"), (100, 116), True),
        (("20240101", "20240201"), (131, 100), True),
        (("20240101", "20250201"), (200, 180), False),
    ],
)
def test_ages_against_the_calendar(folder_layout: Famli, days, ages, noted):
    for visit, (day, age) in enumerate(zip(days, ages, strict=True), start=1):
        folder_layout.clip(f"{visit}.dcm", visit=visit, day=day)
        folder_layout.form(f"FA3-025-1001-{visit}", ega=age)
    notes = folder_layout.read().notes
    assert (
        any(
            note.startswith("1 patients have visits whose gestational ages and dates")
            for note in notes
        )
        == noted
    )


def test_two_days_under_one_study_are_noted(famli3):
    for day in ("20240110", "20240207"):
        famli3.clip(f"{day}.dcm", day=day)
    famli3.form(ega=195)
    cohort = famli3.read()
    assert cohort.table["ga_days"].tolist() == [195, 195]
    assert any(note.startswith("1 studies have folders of several days") for note in cohort.notes)
    assert any(note.startswith("1 patients have visits whose") for note in cohort.notes)


def test_ages_of_reports_in_weeks(famli3):
    cases = [
        ("27.9 wk", 27.9, 195.3),
        ("27w6d", 27, 195),
        ("27 weeks 6 days", "", 195),
        ("27 Wks", 27, 189),
        ("195 days", 195, 195),
        ("", 195, 195),
        ("27.9 wk or so", 195, None),
    ]
    for visit, (text, value, _) in enumerate(cases, start=1):
        famli3.clip(f"{visit}.dcm", visit=visit)
        famli3.measured("Gestational Age by EDD", value, text=text, study=f"FA3-025-1001-{visit}")
    cohort = famli3.read()
    assert column(famli3, "ga_days") == [days and pytest.approx(days) for *_, days in cases]
    assert any(
        note.startswith("1 ages in structured reports are in weeks that can't be read")
        for note in cohort.notes
    )


def test_ages_of_reports_that_are_apart(famli3):
    for visit, other in ((1, 208), (2, 207)):
        famli3.clip(f"{visit}.dcm", visit=visit)
        for days in (200, other):
            famli3.measured("Gestational Age by EDD", days, study=f"FA3-025-1001-{visit}")
    famli3.clip("3.dcm", visit=3)
    for days in (195, 205):
        famli3.measured("Gestational Age", days, study="FA3-025-1001-3")
    cohort = famli3.read(allow_circular_dating=True)
    assert cohort.table["ga_days"].fillna(0).tolist() == [0, 203.5, 200]
    assert any(
        note.startswith("1 ages in structured reports are given twice") for note in cohort.notes
    )


def test_dating_by_the_scan_itself_is_named_and_off(folder_layout: Famli):
    for visit, name in enumerate(
        ("Gestational Age", "Composite Ultrasound Age", "Crown Rump Length"), start=1
    ):
        study = f"FA3-025-1001-{visit}"
        folder_layout.clip(f"{visit}.dcm", visit=visit)
        value, text = ("50", "50 mm") if name == "Crown Rump Length" else ("100", "")
        folder_layout.measured(name, value, text=text, study=study)
    folder_layout.clip("4.dcm", visit=4)
    for name, cm in (
        ("Head Circumference", 23.7),
        ("Abdominal Circumference", 21.5),
        ("Femur Length", 4.7),
    ):
        folder_layout.measured(name, cm, study="FA3-025-1001-4")
    cohort = folder_layout.read()
    assert cohort.table["ga_days"].isna().all()
    assert cohort.table["ga_source"].tolist() == ["sr_ga", "cua", "sr_crl", "hadlock"]
    assert any(
        "ga_days of 4 clips comes from the scan's own biometry" in note for note in cohort.notes
    )
    kept = folder_layout.read(allow_circular_dating=True).table["ga_days"]
    assert kept.tolist() == [100, 100, pytest.approx(80.7, abs=0.1), pytest.approx(177.5, abs=1)]


def test_formulas_at_known_points():
    cm = pd.Series([5.0])
    assert robinson_ga_days(cm)[0] == pytest.approx(81, abs=0.5)  # 42 if the formula were given cm
    bpd, hc, ac, fl = (pd.Series([value, value]) for value in (6.3, 23.7, 21.5, 4.7))
    bpd[1] = np.nan
    by_four, by_three = hadlock_ga_days(bpd, hc, ac, fl)
    assert by_four == pytest.approx(25.4 * 7, abs=1)
    assert by_three == pytest.approx(by_four, abs=3)


def test_reports_of_sonosite(enrolled):
    for visit, words in ((1, "Sole fetus"), (2, "Twin A")):
        study = f"FA3-025-100{visit}-1"
        enrolled.clip(
            f"{visit}.dcm", patient=f"FA3-025-100{visit}", maker="SonoSite, Inc.", model="Turbo"
        )
        enrolled.add(
            "sonosite_reports",
            StudyID=study,
            Manufacturer="SonoSite",
            tagname="FetusID",
            tagcontent=words,
        )
        enrolled.add(
            "sonosite_reports",
            StudyID=study,
            Manufacturer="SonoSite",
            tagname="GAByLMP",
            MeasID="GA_BY_LMP",
            numericvalue=190 + visit,
        )
    table = enrolled.read().table
    assert table["fetuses"].tolist() == [1, 2]
    assert table["ga_days"].tolist() == [191, 192]
    assert set(table["ga_source"]) == {"lmp"}
    enrolled.add(
        "sonosite_reports",
        StudyID="X",
        Manufacturer="SonoSite",
        tagname="FetusID",
        tagcontent="Baby Name",
    )
    message = r"structured_reports.csv line 6, tagcontent = \(not shown\): text with 'sole' or"
    with pytest.raises(InputError, match=message) as raised:
        enrolled.read()
    assert "Baby Name" not in str(raised.value)


def test_values_beyond_anything_possible_are_left_aside(famli3):
    famli3.clip()
    famli3.measured("Gestational Age by EDD", 4000)
    famli3.measured("Number of Fetuses", 0)
    cohort = famli3.read()
    assert cohort.table[["ga_days", "fetuses"]].isna().all(axis=None)
    assert any(
        "2 values of structured reports are beyond anything possible" in note
        for note in cohort.notes
    )


def test_repeats_of_the_number_of_fetuses(famli3):
    cases = [([1], 1), ([1, 2], 2), ([1, 1, 2], 1), ([2, 2, 1], 2), ([], None)]
    for number, (counts, _) in enumerate(cases):
        famli3.clip(f"{number}.dcm", patient=f"FA3-025-100{number}")
        for count in counts:
            famli3.measured("Number of Fetuses", count, study=f"FA3-025-100{number}-1")
    assert column(famli3, "fetuses") == [fetuses for _, fetuses in cases]


def visits(
    famli: Famli, patient: str, *, twins: tuple[object, ...], reported: tuple[object, ...] = ()
) -> None:
    """Visits of a patient with the number of fetuses on each form, and in each report."""
    for visit, count in enumerate(twins, start=1):
        famli.clip(f"{patient}.{visit}.dcm", patient=patient, visit=visit)
        famli.form(
            f"{patient}-{visit}",
            us_twin=count,
            us_lie="Cephalic" if famli.layout == "famli2" else 1,
        )
    for visit, count in enumerate(reported, start=1):
        famli.measured("Number of Fetuses", count, study=f"{patient}-{visit}")


def test_forms_and_reports_on_the_number_of_fetuses(folder_layout: Famli):
    # on the forms, in the reports, what it comes to, and whether the presentation is kept
    cases = [
        ((1, 1), (), [1, 1], [True, True]),
        ((2, 2), (2,), [2, 2], [False, False]),
        ((1,), (2,), [None], [False]),
        ((2,), (1,), [None], [False]),
        ((1, 2), (), [None, None], [False, False]),  # the last: between visits
        (("", 1), (), [1, 1], [True, True]),
        (("", ""), (2,), [2, 2], [False, False]),
        (("", ""), (), [None, None], [True, True]),
    ]
    for number, (twins, reported, _, _) in enumerate(cases):
        visits(folder_layout, f"FA3-025-100{number}", twins=twins, reported=reported)
    assert column(folder_layout, "fetuses") == [
        count for _, _, fetuses, _ in cases for count in fetuses
    ]
    assert [value is not None for value in column(folder_layout, "presentation")] == [
        kept for *_, presented in cases for kept in presented
    ]


def test_twins_of_a_visit_without_clips(folder_layout: Famli):
    for patient in ("FA3-025-1001", "FA3-025-1002", "FA3-025-1003"):
        visits(folder_layout, patient, twins=("",))
    folder_layout.form("FA3-025-1001-2", us_twin=2)
    folder_layout.measured("Number of Fetuses", 2, study="FA3-025-1002-2", maker="")
    cohort = folder_layout.read()
    assert cohort.table["fetuses"].fillna(0).tolist() == [2, 2, 0]
    assert cohort.table["presentation"].notna().tolist() == [False, False, True]


def test_the_file_of_twins_has_the_last_word(folder_layout: Famli):
    cases = [
        ((2, 2, 2), 2),
        ((2, 1, 1), 1),
        ((2, 2, "3.0"), 3),
        ((2, 2, ""), 2),
        ((2, "", ""), 2),
        ((2, 1, ""), None),
    ]
    for number, (row, _) in enumerate(cases):
        patient = f"FA3-025-100{number}"
        visits(folder_layout, patient, twins=(1, 2), reported=(2, 2))
        folder_layout.add(
            "twins", PID=patient, **dict(zip(("us_twin", "NOF", "FINAL_TWIN"), row, strict=True))
        )
    fetuses = [count for _, count in cases for _ in range(2)]
    assert column(folder_layout, "fetuses") == fetuses
    assert [value is not None for value in column(folder_layout, "presentation")] == [
        count == 1 for count in fetuses
    ]


def test_patients_left_out_by_the_file_of_twins(folder_layout: Famli):
    cases = [
        {"us_twin": 2, "NOF": 2, "FINAL_TWIN": -99},
        {"us_twin": -99, "FINAL_TWIN": 2},
        {"us_twin": "", "NOF": 1, "FINAL_TWIN": "-99.0"},
        {"us_twin": "", "NOF": 1, "FINAL_TWIN": 1},
    ]
    for number, row in enumerate(cases):
        visits(folder_layout, f"FA3-025-100{number}", twins=(1, 1))
        folder_layout.add("twins", PID=f"FA3-025-100{number}", **row)
    visits(folder_layout, "FA3-025-1009", twins=(1, 1))
    folder_layout.add("twins", PID="fa3-025-1009 ", us_twin=" 2", FINAL_TWIN="-99 ")
    folder_layout.add("twins", PID="FA3-025-3000", us_twin=2, FINAL_TWIN=2)
    folder_layout.add("twins", PID="", us_twin=2, FINAL_TWIN=2)
    folder_layout.add("twins", PID="", us_twin=3, FINAL_TWIN=3)
    folder_layout.clip("other.dcm", patient="FA3-025-2000")
    cohort = folder_layout.read()
    assert cohort.table["patient_id"].tolist() == ["FA3-025-2000"]
    assert cohort.flow[-1].reason == "patient left out by the file of twins"
    assert cohort.flow[-2].clips - cohort.flow[-1].clips == 10
    assert "1 patients of the file of twins have no clip here" in cohort.notes


def test_a_final_number_that_is_none(famli3):
    visits(famli3, "FA3-025-1001", twins=(1,))
    famli3.add("twins", PID="FA3-025-1001", us_twin=2, NOF=2, FINAL_TWIN="many")
    with pytest.raises(
        InputError, match=r"FAMLI3_Twins_20250417\.csv line 2, FINAL_TWIN = \(not shown\): a number"
    ):
        famli3.read()


@pytest.mark.parametrize(
    ("weight", "height", "expected"),
    [
        (62, 160, 24.2),
        (62, 1.60, 24.2),
        (137, 63, 24.3),
        (62, 16, None),
        (None, 160, None),
        (620, 160, None),
    ],
)
def test_body_mass_index_by_the_units_that_height_tells(weight, height, expected):
    found = bmi(pd.Series([weight], dtype="float64"), pd.Series([height], dtype="float64"))[0]
    assert found == pytest.approx(expected, abs=0.1) if expected else np.isnan(found)


def test_flags():
    cells = pd.Series(["1", "0", "No", "KJ", None, "Eligible", "eligible"], dtype="str")
    assert says_yes(cells).tolist() == [True, False, False, True, False, True, True]
    assert is_ineligible(cells).tolist() == [False, True, True, True, False, False, False]
