"""The round trip: patients written in each of FAMLI's layouts come back as the same cohort."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from packed_cohort import quiet_packer

from bsou_dist.cohort.table import Cohort, read_cohort
from bsou_dist.commands.write_phantom import write_phantom_layout
from bsou_dist.packing.pack import REJECTS_NAME, PackConfig
from bsou_dist.phantom import PhantomConfig
from bsou_dist.phantom.famli import MIN_PATIENTS, FamliLayout
from bsou_dist.prepare.prepare_clip import PrepareConfig, RejectedClip, prepare
from bsou_dist.shards.manifest import read_manifest
from bsou_dist.sources.read_clip import read_clip

LAYOUTS: tuple[FamliLayout, ...] = (
    "nejm_v4",
    "famli2_enrolled",
    "famli2",
    "famli3",
    "famli3_vivli",
)
CONFIG = PhantomConfig(
    patients=MIN_PATIENTS + 2,
    frames=6,
    size_px=48,
    sweeps=("M", "R", "C1"),
    exams_per_patient=2,
    missing_label_fraction=0.1,
    seed=4,
)
PACK = PackConfig(prepare=PrepareConfig(size_px=48, max_frames=6), shard_clips=64)
PLACENTA_CODES = "{1: anterior, 2: posterior, 3: fundal, 4: lateral, 5: low}"
NUMBERS = {
    "ga_days": 0.0,
    "dvp_cm": 1e-9,
    "fetuses": 0.0,
    "bmi": 0.006,
    "visit_day": 0.0,
    "mm_per_px": 1e-9,
}
"""Numeric columns and how far they may be off: the truth gives BMI with two decimals."""
STEPS = {
    "still image": "still image",
    "picture": "still image",
    "row given twice": "listed before",
    "no file name": "no file name",
    "not eligible": "visit not eligible",
    "file not there": "file not there",
    "excluded by the twin file": "patient left out by the file of twins",
    "exam of a single file": "fewer than 2 clips in the exam",
}
"""Why the writer says a row must not come back, and at which step of the flow it is left out."""
LABELS = ["ga_days", "presentation", "placenta", "dvp_cm", "fetuses", "bmi"]
LOST = {  # (layout, patient's number, label): what is elsewhere and cannot be there
    **{(layout, 1, "dvp_cm"): "only a report has it" for layout in ("nejm_v4", "famli3_vivli")},
    **{("famli3_vivli", 7, "ga_days"): "only a report has it, which may be circular"},
    **{
        (layout, 9, name): "neither form nor report"
        for layout in LAYOUTS[1:]
        for name in ("ga_days", "fetuses")
    },
    **{
        (layout, 12, name): "sources disagree, or are circular"
        for layout in LAYOUTS[1:]
        for name in ("ga_days", "fetuses", "presentation", "placenta", "dvp_cm")
    },
}
ABSENT = {
    ("nejm_v4", 6),
    ("nejm_v4", 7),
    *((layout, 10) for layout in LAYOUTS[1:]),
    ("famli2_enrolled", 11),
    ("famli2", 11),
}
"""(Layout, patient's number): multiples in nejm_v4, who the twin file excludes, who is not
eligible.
"""


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("layouts")
    for layout in LAYOUTS:
        write_phantom_layout(CONFIG, folder / layout, layout=layout, workers=0)
        (folder / f"{layout}.yaml").write_text(
            f"base: {layout}\ncodes: {{placenta: {PLACENTA_CODES}}}\n"
        )
    return {layout: folder / layout for layout in LAYOUTS}


@pytest.fixture(scope="module")
def cohorts(roots: dict[str, Path]) -> dict[str, Cohort]:
    return {
        layout: read_cohort(root, column_map=root.with_suffix(".yaml"), check_files=True)
        for layout, root in roots.items()
    }


def truth(root: Path, name: str = "cohort") -> pd.DataFrame:
    return pd.read_csv(root / f"truth/{name}.csv")


def by_path(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("path").sort_index()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_back_its_cohort(
    roots: dict[str, Path], cohorts: dict[str, Cohort], layout: str
) -> None:
    right, found = by_path(truth(roots[layout])), by_path(cohorts[layout].table)
    assert list(found.index) == list(right.index)
    found["ga_source"] = found["ga_source"].where(
        found["ga_days"].notna()
    )  # of an age that was masked
    for column in right.columns:
        if column in NUMBERS:
            np.testing.assert_allclose(
                found[column].astype(float),
                right[column].astype(float),
                rtol=0,
                atol=NUMBERS[column],
                err_msg=column,
            )
        else:
            pairs = (
                pd.DataFrame({"right": right[column], "found": found[column]})
                .astype("object")
                .fillna("")
            )
            wrong = pairs[pairs["right"] != pairs["found"]].drop_duplicates()
            assert wrong.empty, f"{column}:\n{wrong.to_string()}"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_must_be_left_out_is_and_is_counted(
    roots: dict[str, Path], cohorts: dict[str, Cohort], layout: str
) -> None:
    excluded, cohort = truth(roots[layout], "excluded"), cohorts[layout]
    others = excluded[~excluded["reason"].isin(["row given twice", "no file name"])]
    assert not set(others["path"]) & set(cohort.table["path"])
    dropped = {step.reason: before.clips - step.clips for before, step in pairwise(cohort.flow)}
    assert {reason: clips for reason, clips in dropped.items() if clips} == Counter(
        excluded["reason"].map(STEPS)
    )


def test_the_layouts_agree_about_the_same_patients(cohorts: dict[str, Cohort]) -> None:
    """One value per visit and label over all layouts, and none lost but for a reason that is
    known.
    """
    rows = []
    for layout, cohort in cohorts.items():
        visits = cohort.table.drop_duplicates("study_id")
        ids = (
            visits["study_id"]
            .str.extract(r"-(\d+)-(\d+)$")
            .astype(int)
            .set_axis(["number", "visit"], axis=1)
        )
        rows.append(pd.concat([ids, visits[[*LABELS, "visit_day"]]], axis=1).assign(layout=layout))
    table = pd.concat(rows, ignore_index=True)
    everyone = set(range(1, CONFIG.patients + 1))
    absent = {
        (layout, number)
        for layout in LAYOUTS
        for number in everyone - set(table.loc[table["layout"] == layout, "number"])
    }
    assert absent == ABSENT
    lost = set()
    for (number, visit), same in table.groupby(["number", "visit"]):
        assert same["visit_day"].nunique() == 1, (number, visit)
        for label in LABELS:
            known = same.loc[same[label].notna(), label]
            if label == "bmi":  # inches and pounds in North Carolina, in whole numbers
                assert known.empty or np.ptp(known) < 1.0, (number, visit)
            else:
                assert known.nunique() <= 1, (number, visit, label)
            if len(known):
                lost |= {
                    (layout, number, label) for layout in same.loc[same[label].isna(), "layout"]
                }
    assert lost == set(LOST)
    undated = table["visit_day"].isna()
    assert undated.equals(
        table["layout"].eq("nejm_v4") & table["ga_days"].isna()
    )  # which dates visits by age alone


def test_placenta_codes_must_be_given(roots: dict[str, Path], cohorts: dict[str, Cohort]) -> None:
    bare = read_cohort(roots["famli3"], column_map="famli3")
    assert bare.table["placenta"].isna().all()
    assert cohorts["famli3"].table["placenta"].notna().any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_can_be_packed(cohorts: dict[str, Cohort], layout: str, tmp_path: Path) -> None:
    cohort, out, private = cohorts[layout], tmp_path / "shards", tmp_path / "private"
    quiet_packer(out, private, PACK).run(cohort)
    rejects = pd.read_csv(private / REJECTS_NAME)
    doppler = cohort.table.loc[cohort.table["tag_raw"] == "CORD", "path"]
    assert set(rejects["path"]) == set(doppler)
    assert set(rejects["reason"]) == {"colour Doppler"}
    manifest = read_manifest(out)
    unscaled = manifest["mm_per_px"].isna().sum()
    files = sum(
        recorded_without_spacing(cohort, path) for path in set(cohort.table["path"]) - set(doppler)
    )
    assert unscaled == files > 0
    text = b"".join(path.read_bytes() for path in out.glob("*.tar")) + manifest.to_csv().encode()
    secrets = {
        "Phantom^",
        *cohort.table["patient_id"],
        *(Path(path).stem for path in cohort.table["path"]),
    }
    assert not [secret for secret in secrets if secret.encode() in text]


def recorded_without_spacing(cohort: Cohort, path: str) -> bool:
    given = cohort.table.loc[cohort.table["path"] == path, "mm_per_px"].iloc[0]
    return bool(read_clip(cohort.root / path, 2).mm_per_px is None and np.isnan(given))


def test_49_frames_are_one_too_few_where_50_are_asked_for(cohorts: dict[str, Cohort]) -> None:
    cohort, config = cohorts["famli3"], PrepareConfig(size_px=48, min_frames=50)
    exam = cohort.table[
        cohort.table["study_id"].str.endswith("-0003-1") & cohort.table["operator"].eq("expert")
    ]
    short, long = (
        read_clip(cohort.root / exam.loc[exam["sweep"] == sweep, "path"].iloc[0])
        for sweep in ("M", "R")
    )
    assert (short.source_frames, long.source_frames) == (49, 50)
    with pytest.raises(RejectedClip, match="49 of at least 50"):
        prepare(short, config)
    prepare(long, config)
