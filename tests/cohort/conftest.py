from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from famli_tables import Famli

WriteCohort = Callable[..., Path]


@pytest.fixture
def clip_row() -> Callable[..., dict[str, object]]:
    """A valid row; keyword arguments replace its cells."""

    def make(**cells: object) -> dict[str, object]:
        return {
            "patient_id": "P1",
            "study_id": "P1-1",
            "path": "a.mp4",
            "tag_raw": "M",
            "ga_days": 200,
            "presentation": "cephalic",
            "placenta": "anterior",
            "dvp_cm": 4.5,
            "fetuses": 1,
            "bmi": 25,
            "device": "GE V830",
            "operator": "expert",
            "visit_day": 0,
            "mm_per_px": 0.75,
            **cells,
        }

    return make


@pytest.fixture
def write_cohort(tmp_path: Path) -> WriteCohort:
    """Writes rows as cohort.csv and returns its path."""

    def write(*rows: dict[str, object]) -> Path:
        path = tmp_path / "cohort.csv"
        pd.DataFrame(rows).to_csv(path, index=False)
        return path

    return write


@pytest.fixture(params=["famli2_enrolled", "famli2", "famli3"])
def folder_layout(request: pytest.FixtureRequest, tmp_path: Path) -> Famli:
    """An empty layout whose exams are folders, each of the three in turn."""
    return Famli(tmp_path, request.param)


@pytest.fixture
def famli3(tmp_path: Path) -> Famli:
    return Famli(tmp_path, "famli3")


@pytest.fixture
def enrolled(tmp_path: Path) -> Famli:
    return Famli(tmp_path, "famli2_enrolled")


@pytest.fixture
def nejm(tmp_path: Path) -> Famli:
    return Famli(tmp_path, "nejm_v4")
