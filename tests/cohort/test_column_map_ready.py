from __future__ import annotations

import pytest

from bsou_dist.cohort.column_map import READY_MAPS, ColumnMap, load_column_map
from bsou_dist.common.errors import InputError

SMALL = {
    "tables": {"clips": {"file": "clips.csv", "columns": {"patient_id": "p", "study_id": "s"}}},
    "exams_from": "folder",
    "path": "{exam_folder}/{file_name}",
}


def test_ready_maps_read_by_name():
    assert READY_MAPS == (
        "acouslic",
        "famli2",
        "famli2_enrolled",
        "famli3",
        "famli3_vivli",
        "nejm_v4",
    )
    roles = {name: set(load_column_map(name).tables) for name in READY_MAPS}
    assert roles["nejm_v4"] == {"clips", "studies", "forms"}
    assert roles["famli3"] == {"clips", "spacing", "forms", "reports", "tag_corrections", "twins"}
    assert roles["famli3_vivli"] == {"clips", "forms", "wide_reports", "tag_corrections", "twins"}
    assert roles["famli2_enrolled"] == roles["famli3"] | {"sonosite_reports"}
    assert load_column_map("famli3").codes["presentation"]["4"] is None


def test_a_base_is_changed_entry_by_entry(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "base: famli2\ncodes: {placenta: {A: anterior}}\n"
        "tables: {forms: {columns: {novice: null}}}\n"
    )
    (tmp_path / "mine_too.yaml").write_text("base: mine.yaml\ncodes: {placenta: {P: posterior}}\n")
    ready, own = load_column_map("famli2"), load_column_map(tmp_path / "mine_too.yaml")
    assert own.codes == {**ready.codes, "placenta": {"A": "anterior", "P": "posterior"}}
    assert own.tables["forms"].columns == {**ready.tables["forms"].columns, "novice": None}
    assert own.tables["clips"] == ready.tables["clips"]
    assert own.fingerprint != ready.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "base: famli4",
            "no column map at .*famli4 .did you mean 'famli3'.*; ready ones are acouslic, famli2, "
            "famli2_enrolled",
        ),
        ("base: mine.yaml", "its own base by way of"),
        (
            "base: famli3\ntables: {form: {file: x, columns: {}}}",
            "'form' is no role of a table; those are clips, studies",
        ),
        (
            "base: famli3\ntables: {forms: {columns: {lie: x}}}",
            r"tables.forms: \['lie'\] are no fields of such a table",
        ),
        (
            "base: famli3\ntables: {forms: {columns: {study_id: null}}}",
            "tables.forms.columns lacks study_id",
        ),
        (
            "base: famli3\ncolumns: {site: x}",
            "'columns' for one table or 'tables' for several, not both",
        ),
        (
            "base: famli3\nmeasurements: {weight: [W]}",
            r"\['weight'\] are no measurements; those are fetuses",
        ),
        ("base: famli3\ncodes: {device: {GE: x}}", r"\['device'\] have no codes or units"),
        ("base: famli3\npath: '{folder}/x'", "path: .*'folder'.* is no field"),
        ("path: x", "'exams_from', 'path' and 'measurements' go with 'tables'"),
        (
            "tables: {forms: {file: x, columns: {study_id: s}}}",
            "needs 'tables.clips', 'exams_from' and 'path'",
        ),
    ],
)
def test_a_bad_map_of_several_tables_says_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_column_map(path)


def test_a_map_by_name_is_no_file_beside(tmp_path, monkeypatch):
    (tmp_path / "famli3").write_text("columns: {}")
    monkeypatch.chdir(tmp_path)
    assert load_column_map("famli3").tables
    assert not load_column_map("./famli3").tables


def test_the_smallest_map_of_several_tables():
    assert ColumnMap.model_validate(SMALL).min_clips_per_exam == 1
