"""Labels that hang on which visit, day and pregnancy a form or report is of."""

from __future__ import annotations

import pytest
from famli_tables import Famli

from bsou_dist.cohort.table import Cohort, read_cohort
from bsou_dist.common.errors import InputError

PATIENT = "FA3-025-1001"


def cells(cohort: Cohort, name: str) -> list[object]:
    values = cohort.table[name]
    return values.astype(object).where(values.notna(), None).tolist()


def has_note(cohort: Cohort, start: str) -> bool:
    return any(note.startswith(start) for note in cohort.notes)


@pytest.mark.parametrize(
    ("dated", "days", "source"),
    [
        ({"EDD": 200, "LMP": 190, "Conception Date": 195}, 200, "edd"),
        ({"LMP": 190, "Conception Date": 195}, 195, "conception"),
        ({"LMP": 190}, 190, "lmp"),
        ({"EDD": 20, "LMP": 190}, 190, "lmp"),  # too young to be one
    ],
)
def test_a_due_date_counts_before_conception_and_last_period(tmp_path, dated, days, source):
    famli = Famli(tmp_path, "famli2")
    famli.clip()
    for name, age_days in dated.items():
        famli.measured(f"Gestational Age by {name}", age_days)
    cohort = famli.read()
    assert (cells(cohort, "ga_days"), cells(cohort, "ga_source")) == ([days], [source])
    differ = "1 studies have a report whose due date, conception date and last period give"
    assert has_note(cohort, differ) == (sum(age > 43 for age in dated.values()) > 1)


def test_ages_by_dates_that_agree_are_not_noted(tmp_path):
    famli = Famli(tmp_path, "famli2")
    famli.clip()
    famli.measured("Gestational Age by EDD", 200)
    famli.measured("Gestational Age by LMP", 201)  # rounding
    assert not has_note(famli.read(), "1 studies have a report whose due date")


@pytest.mark.parametrize("due", ["2024-05-01", "01MAY2024", "2024-05-01 00:00:00", "20240501"])
def test_a_due_date_on_the_form_dates_a_pregnancy(folder_layout: Famli, due):
    folder_layout.clip(day="20240110")
    folder_layout.form(edd_date=due)
    folder_layout.measured("Gestational Age by EDD", 150)
    cohort = folder_layout.read()
    assert cells(cohort, "ga_days") == [168]  # 112 days before it
    assert cells(cohort, "ga_source") == ["edd"]


def test_a_date_that_is_none_is_listed(famli3):
    famli3.clip()
    famli3.form(us_date_date="1/2/2024", ega=195)
    cohort = famli3.read()
    assert cells(cohort, "ga_days") == [195]
    (cell,) = cohort.set_aside
    assert (cell.line, cell.column, cell.value) == (2, "us_date_date", "")


@pytest.mark.parametrize(
    ("form_days", "age", "presentation", "note"),
    [
        (("2024-01-10",), 195, "cephalic", ""),
        (("10JAN2024",), 195, "cephalic", ""),
        (("",), 195, "cephalic", ""),
        (("2024-01-07",), 198, "cephalic", "1 studies have a form dated up to 7 days"),
        (("2024-01-12",), 193, "cephalic", "1 studies have a form dated up to 7 days"),
        (("2023-12-10",), None, None, "1 studies have a form dated more than 7 days"),
        # the form of the day itself counts, wherever it stands
        (("2023-12-10", "2024-01-10"), 205, "non_cephalic", ""),
        (("2024-01-10", "2023-12-10"), 195, "cephalic", ""),
        (("2023-12-10", ""), 205, "non_cephalic", ""),
    ],
)
def test_the_form_of_the_folders_day_counts(famli3, form_days, age, presentation, note):
    famli3.clip(day="20240110")
    for number, day in enumerate(form_days):
        famli3.form(us_date_date=day, ega=195 + 10 * number, us_lie=1 + number, sc_ht=160, sc_wt=64)
    cohort = famli3.read()
    assert cells(cohort, "ga_days") == [age]
    assert cells(cohort, "presentation") == [presentation]
    assert cells(cohort, "bmi") == [pytest.approx(25)]  # is the mother's, whatever the day
    assert has_note(cohort, "1 studies have a form dated") == bool(note)
    assert has_note(cohort, note)


def test_a_number_that_is_no_age_does_not_become_one_by_moving(famli3):
    famli3.clip(day="20240110")
    famli3.form(us_date_date="2024-01-05", ega=39)  # weeks, it seems
    assert cells(famli3.read(), "ga_days") == [None]


def visit(famli: Famli, number: int, day: str, *, age: object = "", twins: object = "") -> None:
    famli.clip(f"{number}.dcm", visit=number, day=day)
    famli.form(f"{PATIENT}-{number}", ega=age, us_twin=twins, us_lie=1)


@pytest.mark.parametrize(
    ("visits", "fetuses", "presented"),
    [
        # day, age, number on the form
        # one pregnancy, then another, by ages
        ([("20220110", 200, 2), ("20230601", 150, 1)], [2, 1], "-+"),
        ([("20220110", 200, 2), ("20230601", 150, "")], [2, None], "-+"),
        # no ages, but no pregnancy lasts so long
        ([("20220110", "", 2), ("20230601", "", 1)], [2, 1], "-+"),
        # soon after the first
        ([("20220110", 200, 2), ("20220901", 100, 1)], [2, 1], "-+"),
        # one pregnancy
        ([("20220110", 100, 2), ("20220310", 159, 1)], [None, None], "--"),
        ([("20220110", 100, 2), ("20220310", 159, "")], [2, 2], "--"),
        ([("20220110", "", 2), ("20220510", "", "")], [2, 2], "--"),
        # the undated visit lies in the first, or after the first and before the second
        ([("20220110", 200, 2), ("20220120", "", ""), ("20230601", 150, 1)], [2, 2, 1], "--+"),
        ([("20220110", 200, 2), ("20221101", "", ""), ("20230601", 50, 1)], [2, None, 1], "-++"),
        # it may be of either, so its number counts for both
        (
            [("20220110", 200, 1), ("20220420", "", 2), ("20220901", 160, 1)],
            [None, None, None],
            "---",
        ),
    ],
)
def test_a_number_of_fetuses_stays_in_its_pregnancy(folder_layout, visits, fetuses, presented):
    words = folder_layout.layout == "famli2"
    for number, (day, age, twins) in enumerate(visits, start=1):
        folder_layout.clip(f"{number}.dcm", visit=number, day=day)
        folder_layout.form(
            f"{PATIENT}-{number}", ega=age, us_twin=twins, us_lie="Cephalic" if words else 1
        )
    cohort = folder_layout.read()
    assert cells(cohort, "fetuses") == fetuses
    # what is not defined for twins is not asked where there may be some
    kept = ["-+"[value is not None] for value in cells(cohort, "presentation")]
    assert "".join(kept) == presented


def test_a_form_without_clips_counts_for_its_own_pregnancy(famli3):
    visit(famli3, 1, "20220110", age=200, twins=1)
    famli3.form(f"{PATIENT}-2", us_date_date="2023-06-01", ega=150, us_twin=2)
    assert cells(famli3.read(), "fetuses") == [1]
    famli3.form(f"{PATIENT}-3", us_twin=2)  # of any pregnancy
    assert cells(famli3.read(), "fetuses") == [None]


def test_the_file_of_twins_speaks_of_the_pregnancy_that_had_them(famli3):
    visit(famli3, 1, "20220110", age=200, twins=2)
    visit(famli3, 2, "20230601", age=150, twins=1)
    famli3.add("twins", PID=PATIENT, us_twin=2, NOF=2, FINAL_TWIN=2)
    cohort = famli3.read()
    assert cells(cohort, "fetuses") == [2, 1]
    assert cells(cohort, "presentation") == [None, "cephalic"]
    assert has_note(cohort, "1 patients of the file of twins have another pregnancy")


def test_the_file_of_twins_counts_for_all_where_nobody_saw_the_number(famli3):
    visit(famli3, 1, "20220110", age=200, twins=1)
    visit(famli3, 2, "20230601", age=150, twins=1)
    famli3.add("twins", PID=PATIENT, us_twin=2, NOF=2, FINAL_TWIN=2)
    assert cells(famli3.read(), "fetuses") == [2, 2]


def test_columns_that_differ_only_in_case_are_an_error(famli3):
    famli3.clip()
    famli3.form(ega=195, EGA=120)
    with pytest.raises(
        InputError, match=r"famli3_crf.csv has columns .* only in case: 'ega' and 'EGA'"
    ):
        famli3.read()


def test_columns_that_nobody_reads_may_differ_only_in_case(famli3):
    famli3.clip()
    famli3.form(ega=195, other=1, Other=2)
    assert cells(famli3.read(), "ga_days") == [195]


def test_a_tag_n_alone_is_a_novices_middle_sweep(famli3):
    famli3.clip("a.mp4", tag="N", maker="Butterfly Network Inc", model="iQ")
    cohort = famli3.read()
    assert cells(cohort, "sweep") == ["M"]
    assert cells(cohort, "operator") == ["novice"]


BUTTERFLY = {"maker": "Butterfly Network Inc", "model": "iQ"}


def test_reports_of_another_maker_serve_where_the_map_says_so(famli3, tmp_path):
    famli3.clip("a.mp4", **BUTTERFLY)
    famli3.clip("b.dcm", maker="clarius", model="C3HD")
    famli3.measured("Gestational Age by EDD", 201)
    famli3.measured("Max Vertical Pocket", 4.5)
    famli3.measured("Max Vertical Pocket", 3.5, maker="Clarius")
    assert cells(famli3.read(), "ga_days") == [None, None]
    own = tmp_path / "own.yaml"
    own.write_text("base: famli3\nreports_of_other_makers: true\n")
    cohort = famli3.read(column_map=own)
    # the pocket is told in two ways; a Clarius has its own report, if not of everything
    assert cells(cohort, "ga_days") == [201, None]
    assert cells(cohort, "dvp_cm") == [None, 3.5]
    assert has_note(cohort, "1 clips have no report of their own maker")


def rewrite(famli: Famli, name: str, change, encoding: str = "utf-8") -> Cohort:
    famli.write()
    path = famli.root / "FAMLI3/Tabular_Data" / name
    path.write_text(change(path.read_text()), encoding=encoding)
    return read_cohort(famli.root, column_map="famli3")


def test_tables_in_latin_1_and_with_semicolons(famli3):
    famli3.clip()
    famli3.form(us_dvp_ge="4.5", ega=195, sonographer="Zo\xeb")
    cohort = rewrite(famli3, "famli3_crf.csv", lambda text: text, "latin-1")
    assert cells(cohort, "ga_days") == [195]
    (cell,) = cohort.set_aside
    assert (cell.table, cell.line, cell.accepted) == ("famli3_crf.csv", 1, "UTF-8, not Latin-1")

    def with_semicolons(text: str) -> str:
        return text.replace(",", ";").replace(".", ",")

    cohort = rewrite(famli3, "famli3_crf.csv", with_semicolons)
    assert cells(cohort, "dvp_cm") == [4.5]
    with pytest.raises(InputError, match=r"famli3_crf.csv line 1, \(whole table\): commas between"):
        read_cohort(famli3.root, column_map="famli3", strict=True)


def test_backslashes_in_paths_are_slashes(enrolled):
    enrolled.clip("1.2.3.mp4", folder="deliveries\\FA3-025-1001-1_20240110_101500", **BUTTERFLY)
    cohort = enrolled.read()
    folder = "FAMLI2_enrolled/deliveries/FA3-025-1001-1_20240110_101500"
    assert cells(cohort, "path") == [f"{folder}/1.2.3.mp4"]
    assert [cell.column for cell in cohort.set_aside] == ["synapsepath"]


def test_a_spacing_of_zero_is_none(famli3):
    for file, spacing in (("a.mp4", 0), ("b.mp4", 0.02)):
        famli3.clip(file, **BUTTERFLY)
        famli3.add("spacing", file=file, SequenceOfUltrasoundRegions_PhysicalDeltaX=spacing)
    cohort = famli3.read()
    assert cells(cohort, "mm_per_px") == [None, pytest.approx(0.2)]
    (cell,) = cohort.set_aside
    assert (cell.table, cell.line) == ("FAMLI3_mp4_IT.csv", 2)


def test_studies_of_nejm_that_stand_twice(nejm):
    for file in ("1.2", "1.3"):
        nejm.add(
            "clips",
            study_id="S-1",
            pid="S",
            study_id_with_acquisition_source="S-1",
            file_path=f"SETX/S-1/{file}",
            tag="M",
        )
    nejm.add("studies", study_id="S-1", ga_boe=195, set_type="Training")
    nejm.add("studies", study_id="S-1", ga_boe=120, set_type="Training")
    cohort = nejm.read()
    assert cells(cohort, "ga_days") == [None, None]
    assert cells(cohort, "split_stage2") == ["train", "train"]
    assert [(cell.line, cell.column) for cell in cohort.set_aside] == [(2, "ga_boe"), (3, "ga_boe")]
