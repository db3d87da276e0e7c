"""The phantom in FAMLI's layouts, held against what is known of the corpus on disk; nothing here
reads a layout.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from bsou_dist.cli import main
from bsou_dist.commands.write_phantom import write_phantom_layout
from bsou_dist.common.exit_codes import BAD_INPUT
from bsou_dist.phantom import PhantomConfig
from bsou_dist.phantom.famli import MIN_PATIENTS, FamliLayout
from bsou_dist.sources.read_clip import read_clip

LAYOUTS: tuple[FamliLayout, ...] = ("nejm_v4", "famli2_enrolled", "famli2", "famli3")
V9 = LAYOUTS[1:]
CONFIG = PhantomConfig(
    patients=MIN_PATIENTS + 1, frames=4, size_px=48, sweeps=("M", "L", "C1"), seed=4
)
CORRECTIONS = "FAMLI_corrections_GHL"
TABLES = {
    "nejm_v4": {
        "GA_NEJME/GA_NEJME_ultrasound_instances.csv",
        "GA_NEJME/GAEstimationAnalysisStudies_NEJMEvidence.csv",
        "FAMLI2_enrolled/Tabular_data/FAMLI2_case_report_forms.xlsx",
    },
    "famli2_enrolled": {
        "FAMLI2_enrolled/Tabular_data/FAMLI2_instance_table_20180907_20220531_tags.csv",
        "FAMLI2_enrolled/Tabular_data/FAMLI2_20180907_20220531_mp4_IT.csv",
        "FAMLI2_enrolled/Tabular_data/FAMLI2_DICOM_structured_reports.csv",
        "FAMLI2_enrolled/Tabular_data/FAMLI2_non-DICOM_structured_reports.csv",
        "FAMLI2_enrolled/Tabular_data/FAMLI2_case_report_forms.xlsx",
        f"{CORRECTIONS}/FAMLI2_enrolled_tag_corrections_20250417.csv",
        f"{CORRECTIONS}/FAMLI2_enrolled_Twins_20250417.csv",
        f"{CORRECTIONS}/FAMLI_twin_stats_splits.csv",
    },
    "famli2": {
        "FAMLI2/FAMLI2_Tabular_Data/famli2_it_all_tags.csv",
        "FAMLI2/FAMLI2_Tabular_Data/FAMLI2_mp4_IT.csv",
        "FAMLI2/FAMLI2_Tabular_Data/FAMLI2_SR.csv",
        "FAMLI2/FAMLI2_Tabular_Data/famli2_crf.csv",
        f"{CORRECTIONS}/FAMLI2_tag_corrections_20250417.csv",
        f"{CORRECTIONS}/FAMLI2_Twins_20250417.csv",
        f"{CORRECTIONS}/FAMLI_twin_stats_splits.csv",
    },
    "famli3": {
        "FAMLI3/tabular/famli3_it.csv",
        "FAMLI3/tabular/FAMLI3_mp4_IT.csv",
        "FAMLI3/tabular/famli3_sr.csv",
        "FAMLI3/tabular/famli3_crf.csv",
        f"{CORRECTIONS}/FAMLI3_tag_corrections_20250707.csv",
        f"{CORRECTIONS}/FAMLI3_Twins_20250417.csv",
        f"{CORRECTIONS}/FAMLI_twin_stats_splits.csv",
    },
}
# of the columns that hold study, exam folder, file, maker, model, frames in the instance tables
NAMES = {
    "famli2_enrolled": (
        "pidscan",
        "synapsepath",
        "filename",
        "manufacturer",
        "manufacturermodelname",
        "numberofframes",
    ),
    "famli2": (
        "pidscan",
        "pid_date_time",
        "filename",
        "manufacturer",
        "manufacturermodelname",
        "numberofframes",
    ),
    "famli3": (
        "PIDscan",
        "PID_date_time",
        "file",
        "Manufacturer",
        "ManufacturerModelName",
        "NumberOfFrames",
    ),
}
MP4_KEYS = {"famli2_enrolled": "filename", "famli2": "SOPInstanceUID", "famli3": "file"}
DELTA_X = "SequenceOfUltrasoundRegions_PhysicalDeltaX"


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of each layout. Not to be changed."""
    folder = tmp_path_factory.mktemp("layouts")
    for layout in LAYOUTS:
        write_phantom_layout(CONFIG, folder / layout, layout=layout, workers=0)
    return {layout: folder / layout for layout in LAYOUTS}


@cache
def table(root: Path, end: str) -> pd.DataFrame:
    """The CSV whose path ends so, all cells as text."""
    (path,) = (path for path in root.rglob("*.csv") if path.as_posix().endswith(end))
    return pd.read_csv(path, dtype=str, na_filter=False)


def instances(root: Path, layout: str) -> pd.DataFrame:
    """The v9 instance table under common names: study, folder, file, maker, model, frames, tag,
    place.
    """
    (name,) = (
        name
        for name in TABLES[layout]
        if "_it" in name.rpartition("/")[2] or "instance_table" in name
    )
    raw = table(root, name)
    ours = ["study", "folder", "file", "maker", "model", "frames", "tag"]
    frame = raw[[*NAMES[layout], "tag"]].set_axis(ours, axis=1)
    project = layout.upper().replace("_ENROLLED", "_enrolled")
    if layout != "famli2_enrolled":
        month = frame["folder"].str.extract(r"_(\d{4})(\d{2})\d{2}_\d{6}$")
        frame["folder"] = (
            f"{project}/Ultrasound/" + month[0] + "-" + month[1] + "/" + frame["folder"]
        )
    return frame.assign(place=frame["folder"] + "/" + frame["file"])


def forms(root: Path, layout: str) -> pd.DataFrame:
    if layout in ("famli2", "famli3"):
        return table(root, f"{layout}_crf.csv").rename(
            columns={"PIDscan": "pidscan", "us_dvp_ge": "us_dvp"}
        )
    book = root / "FAMLI2_enrolled/Tabular_data/FAMLI2_case_report_forms.xlsx"
    return pd.read_excel(book, sheet_name="FAMLI2 CRFs", dtype=str, na_filter=False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tables_lie_where_the_layout_has_them(roots: dict[str, Path], layout: str) -> None:
    root = roots[layout]
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix in (".csv", ".xlsx")
    }
    assert found == {*TABLES[layout], "truth/cohort.csv", "truth/excluded.csv"}


@pytest.mark.parametrize("layout", V9)
def test_all_files_of_the_instance_table_are_there_but_the_lost(
    roots: dict[str, Path], layout: str
) -> None:
    root, found = roots[layout], instances(roots[layout], layout)
    named = found.loc[found["file"] != "", "place"]
    absent = [place for place in named.unique() if not (root / place).is_file()]
    excluded = table(root, "truth/excluded.csv")
    assert absent == excluded.loc[excluded["reason"] == "file not there", "path"].tolist() != []
    there = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix in (".dcm", ".mp4", ".png")
    }
    assert there == set(named) - set(absent)


@pytest.mark.parametrize("layout", V9)
def test_instance_tables_have_the_corpus_s_faults(roots: dict[str, Path], layout: str) -> None:
    found = instances(roots[layout], layout)
    assert {"", "None"} <= set(found["tag"])
    assert (found["file"] == "").sum() == 1
    assert found[found["file"] != ""].duplicated(["study", "file"]).sum() == 1
    frames = pd.to_numeric(found["frames"]).where(~found["file"].str.endswith(".mp4"))
    assert {49.0, 50.0} <= set(frames)
    stills = found["file"].str.endswith(".dcm") & frames.fillna(1).lt(2)
    assert stills.any()
    assert found["file"].str.endswith(".png").any() == (layout == "famli2_enrolled")
    assert found["file"].str.endswith(".mp4").equals(found["maker"].str.contains("Butterfly"))
    assert (
        not found["tag"].str.fullmatch("NM|NL|NC1")[~found["maker"].str.contains("Butterfly")].any()
    )


def test_makers_and_models(roots: dict[str, Path]) -> None:
    makers = {
        layout: set(instances(roots[layout], layout)["maker"].str.split().str[0].str.strip(","))
        for layout in V9
    }
    assert makers == {
        "famli2_enrolled": {"GE", "SonoSite", "Sonosite", "Clarius", "Butterfly", "EchoNous"},
        "famli2": {"GE", "Butterfly", "EchoNous"},
        "famli3": {"GE", "Butterfly"},
    }
    assert "iQ3 Probe" in set(instances(roots["famli3"], "famli3")["model"])
    assert {"", "iQ Probe", "Voluson S"} <= set(
        instances(roots["famli2_enrolled"], "famli2_enrolled")["model"]
    )


@pytest.mark.parametrize("layout", V9)
def test_mp4s_find_their_spacing_by_name_and_one_does_not(
    roots: dict[str, Path], layout: str
) -> None:
    root = roots[layout]
    mp4 = table(root, "mp4_IT.csv")
    found = instances(root, layout)
    assert set(mp4[MP4_KEYS[layout]]) == {name for name in found["file"] if name.endswith(".mp4")}
    assert mp4.duplicated().sum() == 1
    assert set(mp4[DELTA_X]) == {"", "0.4"}  # cm: 192 mm over 48 pixels
    assert "Unknown" not in set(found["tag"])


@pytest.mark.parametrize("layout", V9)
def test_corrections_name_rows_and_patients_that_exist(roots: dict[str, Path], layout: str) -> None:
    root, found = roots[layout], instances(roots[layout], layout)
    tags = table(root, TAGS := next(name for name in TABLES[layout] if "tag_corrections" in name))
    assert TAGS.endswith("20250707.csv" if layout == "famli3" else "20250417.csv")
    before = found.drop_duplicates("file").set_index("file")["tag"]
    assert set(tags["filename"]) <= set(before.index)
    pairs = list(zip(before[tags["filename"]], tags["tag_final"], strict=True))
    assert any(old and new and old != new for old, new in pairs), "a changed tag"
    assert any(old and not new for old, new in pairs), "a blank one"
    twins = table(root, "Twins_20250417.csv")
    assert set(twins["FINAL_TWIN"]) == {"1", "2", "3", "-99"}
    assert set(twins["PID"]) <= set(found["study"].str.rpartition("-")[0])
    folders = set(found["folder"].str.rpartition("/")[2])
    splits = table(root, "FAMLI_twin_stats_splits.csv")
    assert set(splits["exam_dir"]) <= folders
    assert set(splits["Split"]) <= {"Test", "Fold0", "Fold1", "Fold2", "Fold3", "Fold4"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_forms_have_a_row_per_study_but_one_patient_s(roots: dict[str, Path], layout: str) -> None:
    root, form = roots[layout], forms(roots[layout], layout)
    studies = (
        set(table(root, "ultrasound_instances.csv")["study_id"])
        if layout == "nejm_v4"
        else set(instances(root, layout)["study"])
    )
    assert form["pidscan"].is_unique
    assert set(form["pidscan"]) < studies
    assert len({study.rpartition("-")[0] for study in studies - set(form["pidscan"])}) == 1
    lies = (
        {"1", "2", "4", ""} if layout != "famli2" else {"Cephalic", "Breech", "Variable / NA", ""}
    )
    assert lies <= set(form["us_lie"]) <= lies | {"3", "5", "Transverse", "Oblique"}
    assert {"1", "2", "3"} == set(form["us_plac"]) - {""}
    assert "" in set(form["us_dvp"])


def test_forms_of_each_project_have_its_columns(roots: dict[str, Path]) -> None:
    columns = {layout: set(forms(roots[layout], layout).columns) for layout in LAYOUTS}
    assert columns["famli2"] - columns["famli2_enrolled"] == {"pid"}
    assert {"PID", "us_wks", "us_day", "us_bpa", "us_bpb"} <= columns["famli3"]
    assert not {"eligible", "us_sweep", "edd_date"} & columns["famli3"]
    assert set(forms(roots["famli2"], "famli2")["eligible"]) == {"Eligible", "Ineligible"}
    enrolled = forms(roots["famli2_enrolled"], "famli2_enrolled")
    assert set(enrolled["eligible"]) == {"0", "1"}
    carolina = enrolled["pidscan"].str.startswith(("UNC", "VIL"))
    assert (pd.to_numeric(enrolled["sc_ht"]) < 100).equals(carolina)  # inches


def test_reports_measure_in_both_units_with_and_without_means(roots: dict[str, Path]) -> None:
    for layout, end in (
        ("famli2_enrolled", "FAMLI2_DICOM_structured_reports.csv"),
        ("famli2", "FAMLI2_SR.csv"),
        ("famli3", "famli3_sr.csv"),
    ):
        report = (
            table(roots[layout], end)
            .rename(columns=str.lower)
            .rename(columns={"pidscan": "studyid"})
        )
        lengths = report[report["tagname"] == "Biparietal Diameter"]
        assert {"mm", "cm"} == set(lengths["tagcontent"].str.split().str[1])
        means = lengths.groupby("studyid")["derivation"].apply(
            lambda cells: (cells == "Mean").sum()
        )
        assert set(means) == {0, 1}
        assert {"Gestational Age", "Gestational Age by EDD", "Max Vertical Pocket"} <= set(
            report["tagname"]
        )
    sonosite = table(roots["famli2_enrolled"], "non-DICOM_structured_reports.csv")
    fetuses = sonosite.loc[sonosite["tagname"] == "FetusID", "tagcontent"]
    assert fetuses.str.contains("sole").any()
    assert fetuses.str.contains("twin").any()
    assert "Derivation" not in sonosite.columns
    assert {"OB_BPD", "OB_FL", "GA_BY_LMP"} <= set(sonosite["MeasID"])


@pytest.mark.parametrize("layout", V9)
def test_form_and_report_disagree_about_fetuses(roots: dict[str, Path], layout: str) -> None:
    form = forms(roots[layout], layout).set_index("pidscan")["us_twin"].astype(int)
    end = {
        "famli2_enrolled": "FAMLI2_DICOM_structured_reports.csv",
        "famli2": "FAMLI2_SR.csv",
        "famli3": "famli3_sr.csv",
    }[layout]
    report = (
        table(roots[layout], end).rename(columns=str.lower).rename(columns={"pidscan": "studyid"})
    )
    counts = (
        report[report["tagname"] == "Number of Fetuses"]
        .groupby("studyid")["numericvalue"]
        .max()
        .astype(int)
    )
    both = pd.concat([form, counts], axis=1).dropna()
    assert ((both["us_twin"] == 1) & (both["numericvalue"] == 2)).any()
    assert ((both["us_twin"] == 2) & (both["numericvalue"] == 1)).any()


def test_nejm_has_three_kinds_of_exam_and_files_without_extension(roots: dict[str, Path]) -> None:
    root = roots["nejm_v4"]
    found, studies = table(root, "ultrasound_instances.csv"), table(root, "NEJMEvidence.csv")
    exams = found["study_id_with_acquisition_source"]
    assert {"", "-butterfly", "-novice-butterfly"} == {
        exam.removeprefix(study) for exam, study in zip(exams, found["study_id"], strict=True)
    }
    expert_butterfly = exams.str.endswith("-butterfly") & ~exams.str.endswith("-novice-butterfly")
    assert set(found.loc[expert_butterfly, "tag"]) == {"ASSBS"}
    places = [
        f"{folder}/{exam}/{name}"
        for exam, (folder, _, name) in zip(exams, found["file_path"].str.split("/"), strict=True)
    ]
    absent = [place for place in places if not (root / "GA_NEJME" / place).is_file()]
    assert len(absent) == table(root, "excluded.csv")["reason"].eq("file not there").sum() >= 1
    assert all(
        pydicom.dcmread(root / "GA_NEJME" / place).NumberOfFrames
        for place in set(places) - set(absent)
    )
    assert (exams.value_counts() == 1).any()
    assert set(found["study_id"]) == set(studies["study_id"])
    assert set(studies["set_type"]) == {"Training", "Tuning", "Test Sets"}
    for test in ("main_test", "ivf_test", "novice_test"):
        assert studies[f"preliminary_{test}"].eq("1").any()
        assert set(studies.loc[studies[test] == "1", f"preliminary_{test}"]) == {"1"}
    assert (set(found.columns) & set(studies.columns)) == {"study_id", "pid"}


def test_pictures_are_what_each_scanner_writes(roots: dict[str, Path]) -> None:
    root = roots["famli2_enrolled"]
    dicoms = [pydicom.dcmread(path) for path in root.rglob("*.dcm")]
    kinds = {
        (file.Manufacturer.split()[0].strip(","), file.PhotometricInterpretation) for file in dicoms
    }
    assert kinds == {
        ("GE", "YBR_FULL_422"),
        ("SonoSite", "RGB"),
        ("Sonosite", "RGB"),
        ("EchoNous", "RGB"),
        ("Clarius", "MONOCHROME2"),
    }
    regions = [file.get("SequenceOfUltrasoundRegions") for file in dicoms]
    assert any(region is None for region in regions)
    assert {float(region[0].PhysicalDeltaX) for region in regions if region} == {0.4}  # cm
    assert any("NumberOfFrames" not in file for file in dicoms)
    (still,) = {Image.open(path).size for path in root.rglob("*.png")}
    assert still == (dicoms[0].Columns, dicoms[0].Rows)


def test_the_same_patients_are_in_every_layout(roots: dict[str, Path]) -> None:
    """A console clip shows the same body whatever the layout; the print around it differs."""
    crops = []
    for layout, root in roots.items():
        cohort = table(root, "truth/cohort.csv")
        path = cohort.loc[
            cohort["study_id"].str.endswith("-0003-1") & (cohort["sweep"] == "C1"), "path"
        ].iloc[0]
        clip = read_clip(root / path)
        assert clip.region is not None, layout
        crops.append(
            clip.frames[:, clip.region.y0 : clip.region.y1, clip.region.x0 : clip.region.x1].astype(
                float
            )
        )
    for crop in crops[1:]:
        assert np.abs(crop - crops[0]).mean() < 1.5  # rounding by JPEG


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (f"patients={MIN_PATIENTS - 1}", f"at least {MIN_PATIENTS}"),
        ("both_devices_fraction=0.5", "leave them out"),
        ("sweeps=[M]", "at least two"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, told: str
) -> None:
    out = tmp_path / "out"
    assert main(["phantom", str(out), "--layout", "famli2", setting]) == BAD_INPUT
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_twice_the_same_bytes(roots: dict[str, Path], tmp_path: Path) -> None:
    again = tmp_path / "famli3"
    write_phantom_layout(CONFIG, again, layout="famli3", workers=0)
    first = {
        path.relative_to(roots["famli3"]): path.read_bytes()
        for path in roots["famli3"].rglob("*")
        if path.is_file()
    }
    assert {
        path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()
    } == first
