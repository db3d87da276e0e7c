"""What was joined, kept for later starts and other ranks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from gloo import run_ranks
from p1_tasks import TASKS

from bsou_dist.common.errors import InputError
from bsou_dist.engine.processes import Processes
from bsou_dist.experiment import corpus as corpus_module
from bsou_dist.experiment import joined_cache
from bsou_dist.experiment.corpus import Corpus, load_corpus, share_corpus
from bsou_dist.experiment.data_config import DataConfig, SourceConfig
from bsou_dist.experiment.joined_cache import JoinedCache, _inputs_hash

LABELS = ["ga_days", "placenta"]


@pytest.fixture
def copied(corpus, tmp_path) -> DataConfig:
    """Small data that a test may change: manifest, table and key, with shards by name only."""
    (tmp_path / "shards").mkdir()
    for name in ("manifest.parquet", "shards.json"):
        shutil.copy(corpus / "shards" / name, tmp_path / "shards")
    shutil.copy(corpus / "shards.private/pseudonym.key", tmp_path)
    shutil.copy(corpus / "cohort/cohort.csv", tmp_path)
    return DataConfig(
        shards=tmp_path / "shards",
        cohort=tmp_path / "cohort.csv",
        pseudonym_key=tmp_path / "pseudonym.key",
    )


def source_of(data: DataConfig) -> SourceConfig:
    return data.by_name[""]


def assert_same(one: Corpus, other: Corpus) -> None:
    pd.testing.assert_frame_equal(one.manifest, other.manifest)
    pd.testing.assert_frame_equal(one.cohort, other.cohort)
    assert (one.record, one.notes) == (other.record, other.notes)


def refuses_to_join(*_: object) -> None:
    raise AssertionError("joined anew")


def test_a_second_start_has_the_same_corpus_without_joining(copied, tmp_path, monkeypatch):
    tasks = list(TASKS.values())
    plain = load_corpus(copied, tasks)
    cache = JoinedCache(tmp_path / "cache")
    assert_same(load_corpus(copied, tasks, cache), plain)
    monkeypatch.setattr(joined_cache, "join_source", refuses_to_join)
    assert_same(load_corpus(copied, tasks, cache), plain)


def test_what_is_kept_is_its_owners_alone_and_names_nobody(copied, tmp_path):
    folder = tmp_path / "cache"
    JoinedCache(folder).load(source_of(copied), LABELS)
    [path] = folder.iterdir()
    assert oct(folder.stat().st_mode)[-3:] == "700"
    assert oct(path.stat().st_mode)[-3:] == "600"
    kept = path.read_bytes()
    table = pd.read_csv(copied.cohort)
    for column in ("patient_id", "study_id", "path"):
        assert table[column].iloc[0].encode() not in kept
    assert table["presentation"].dropna().iloc[0].encode() in kept  # labels are there


def edit_cell(data: DataConfig) -> None:
    text = Path(data.cohort).read_text()
    Path(data.cohort).write_text(text.replace("anterior", "posterior", 1))


def edit_manifest(data: DataConfig) -> None:
    path = data.shards / "manifest.parquet"
    manifest = pd.read_parquet(path)
    manifest.loc[0, "mm_per_px"] *= 2
    manifest.to_parquet(path)


def other_key(data: DataConfig) -> None:
    data.pseudonym_key.write_text("00" * 32)


@pytest.mark.parametrize("edit", [edit_cell, edit_manifest, other_key])
def test_other_content_has_another_name(copied, edit):
    before = _inputs_hash(source_of(copied), LABELS)
    assert _inputs_hash(source_of(copied), reversed(LABELS)) == before
    edit(copied)
    assert _inputs_hash(source_of(copied), LABELS) != before


@pytest.mark.parametrize(
    "change",
    [
        {"splits": {"seed": 1}},
        {"clip_classes": ["blind", "diagnostic"]},
        {"allow_circular_dating": True},
        {"column_map": "MAP"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_have_another_name(copied, tmp_path, change):
    before = _inputs_hash(source_of(copied), LABELS)
    (tmp_path / "map.yaml").write_text("columns: {patient_id: patient}\n")
    if "column_map" in change:
        change = {"column_map": str(tmp_path / "map.yaml")}
    changed = DataConfig.model_validate(copied.model_dump() | change | {"sources": {}})
    once = _inputs_hash(source_of(changed), LABELS)
    assert once != before
    if "column_map" in change:  # by what the map says, not by its name
        (tmp_path / "map.yaml").write_text("columns: {patient_id: mother}\n")
        assert _inputs_hash(source_of(changed), LABELS) != once


def test_other_label_columns_and_other_code_have_another_name(copied, monkeypatch):
    before = _inputs_hash(source_of(copied), LABELS)
    assert _inputs_hash(source_of(copied), [*LABELS, "own"]) != before
    monkeypatch.setattr(joined_cache, "_code_hash", lambda: "another")
    assert _inputs_hash(source_of(copied), LABELS) != before


@pytest.mark.parametrize("damage", ["a bit", "the end", "all"])
def test_a_damaged_file_is_made_anew(copied, tmp_path, damage):
    cache = JoinedCache(tmp_path / "cache")
    joined, path = cache.load(source_of(copied), LABELS)
    whole = path.read_bytes()
    half = len(whole) // 2
    flipped = whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]
    path.write_bytes({"a bit": flipped, "the end": whole[:-100], "all": b""}[damage])
    again, _ = cache.load(source_of(copied), LABELS)
    assert again.table.column("cohort.line") == joined.table.column("cohort.line")
    assert path.read_bytes() == whole


def test_nothing_is_kept_where_it_may_not_or_cannot_be(copied, tmp_path):
    joined, path = JoinedCache(tmp_path / "cache", may_write=False).load(source_of(copied), LABELS)
    assert path is None
    assert len(joined.table)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for folder in (tmp_path / "cohort.csv/cache", tmp_path / "open"):
        _, path = JoinedCache(folder).load(source_of(copied), LABELS)
        assert path is None
    assert not (tmp_path / "cache").exists()
    assert not list((tmp_path / "open").iterdir())


def test_a_layout_of_several_tables_is_read_at_every_start(copied, tmp_path, monkeypatch):
    cache = JoinedCache(tmp_path / "cache")
    joined, _ = cache.load(source_of(copied), LABELS)
    layout = source_of(copied).model_copy(update={"cohort": tmp_path})  # a folder
    read = []
    monkeypatch.setattr(joined_cache, "join_source", lambda *given: read.append(given) or joined)
    paths = {cache.load(layout, LABELS)[1] for _ in range(2)}
    assert len(read) == 2
    assert len(paths) == 1
    assert None not in paths


def _share(rank: int, world: int, data: DataConfig, folder: Path) -> tuple[int, str, str]:
    """Clips and record of a shared corpus, which only the first rank may join; and a fault."""
    processes = Processes(rank, world, "cpu")
    if rank:
        corpus_module.join_source = refuses_to_join
        joined_cache.join_source = refuses_to_join
    shared = share_corpus(data, list(TASKS.values()), JoinedCache(folder), processes)
    Path(data.cohort).write_text("patient_id,study_id\n")
    processes.barrier()
    try:
        share_corpus(data, list(TASKS.values()), JoinedCache(folder), processes)
    except InputError as error:
        return len(shared.manifest), shared.record.fingerprint, str(error)
    return 0, "", "no fault"


def test_other_ranks_map_what_the_first_one_kept_and_hear_of_its_faults(copied, tmp_path):
    plain = load_corpus(copied, list(TASKS.values()))
    first, second = run_ranks(2, _share, copied, tmp_path / "cache")
    assert first == second
    assert first[:2] == (len(plain.manifest), plain.record.fingerprint)
    assert "has no rows" in first[2]
