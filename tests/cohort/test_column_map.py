from __future__ import annotations

import pytest

from bsou_dist.cohort.column_map import load_column_map
from bsou_dist.cohort.table import read_cohort
from bsou_dist.common.errors import InputError

MAP = """
columns: {patient_id: pid, study_id: pidscan, path: file, presentation: us_lie,
          mm_per_px: delta_x_cm, ga_days: ega}
codes:
  presentation: {1: cephalic, 2: non_cephalic, 3: non_cephalic, 4: null}
constants: {site: UNC, fetuses: 1}
units: {mm_per_px: 10}
"""
HEADER = "pid,pidscan,file,us_lie,delta_x_cm,ega,tag\n"


def read(tmp_path, rows: str, column_map: str = MAP):
    (tmp_path / "foreign.csv").write_text(HEADER + rows)
    (tmp_path / "map.yaml").write_text(column_map)
    return read_cohort(tmp_path / "foreign.csv", column_map=tmp_path / "map.yaml")


def test_a_foreign_table_comes_in_through_a_map(tmp_path):
    cohort = read(
        tmp_path, "P1,S1,a,1,0.02,195,M\nP1,S2,b,2.0,,200,M\nP1,S3,c,4,,,M\nP1,S4,d,-88,,,M\n"
    )
    table = cohort.table
    assert table["presentation"].fillna("-").tolist() == ["cephalic", "non_cephalic", "-", "-"]
    assert table["mm_per_px"][0] == pytest.approx(0.2)
    assert table["site"].unique().tolist() == ["UNC"]
    assert table["fetuses"].unique().tolist() == [1.0]
    assert table["tag_raw"].isna().all()
    assert "'tag'" in cohort.notes[0]


def test_an_unlisted_code_is_a_bad_cell(tmp_path):
    with pytest.raises(
        InputError, match=r"line 3, presentation = '9': the column map knows the codes 1, 2, 3, 4"
    ):
        read(tmp_path, "P1,S1,a,1,0.02,195,M\nP1,S2,b,9,0.02,200,M\n")


@pytest.mark.parametrize(
    ("column_map", "message"),
    [
        ("column: {}", "no column map; .* base, columns, codes, constants, units"),
        ("columns: {}\ncolumn: {}", "Keys are base, columns, codes, constants, units"),
        ("columns: {patient: pid}", "are no columns of a cohort"),
        ("columns: {site: pid}\nconstants: {site: x}", "both in 'columns' and in 'constants'"),
        ("units: {site: 10}", "hold text"),
        ("columns: {patient_id: subject}", "no column 'subject', which the column map names"),
        ("columns: [", "is not YAML"),
        ("- a list", "no column map"),
        ("columns: a text", "valid dictionary"),
    ],
)
def test_a_bad_map_says_what_is_wrong(tmp_path, column_map, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, "P1,S1,a,1,0.02,195,M\n", column_map)


def test_no_such_map(tmp_path):
    (tmp_path / "foreign.csv").write_text(HEADER + "P1,S1,a,1,0.02,195,M\n")
    with pytest.raises(InputError, match="no column map at"):
        read_cohort(tmp_path / "foreign.csv", column_map=tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "text",
    ["patient,born\nMustermann,1990", "- Mustermann", "Mustermann: {born: 1990}", "[Mustermann"],
)
def test_what_is_no_map_is_not_repeated(tmp_path, text):
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        load_column_map(path)
    assert "Muster" not in str(refused.value)
