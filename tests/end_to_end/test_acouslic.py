"""ACOUSLIC-AI's folder from the phantom: read back, frozen, packed, verified against its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from packed_cohort import quiet_packer

from bsou_dist.cohort.table import Cohort, read_cohort
from bsou_dist.commands.freeze_cohort import freeze_cohort
from bsou_dist.commands.write_phantom import write_phantom_stacks
from bsou_dist.common.frame_range import parse_frame_range
from bsou_dist.common.settings import read_settings
from bsou_dist.experiment.config import DataConfig, RunConfig
from bsou_dist.experiment.corpus import Corpus, load_corpus
from bsou_dist.inspection.verify_sources import verify_sources
from bsou_dist.packing.encode_clip import PackConfig
from bsou_dist.packing.outcome import PACKED, packing_outcome
from bsou_dist.packing.private_folder import KEYMAP_NAME, REJECTS_NAME
from bsou_dist.phantom import PhantomConfig
from bsou_dist.prepare.prepare_clip import PrepareConfig
from bsou_dist.shards.manifest import read_manifest
from bsou_dist.sources.read_clip import read_clip
from bsou_dist.tasks.task_set import load_tasks

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG = PhantomConfig(patients=3, frames=6, size_px=64, missing_sweep_fraction=0.1, seed=3)
PACK = PackConfig(prepare=PrepareConfig(size_px=48, max_frames=6))
TASKS = load_tasks("acouslic")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("acouslic") / "phantom"
    write_phantom_stacks(CONFIG, out, workers=0)
    return out


@pytest.fixture(scope="module")
def cohort(root: Path) -> Cohort:
    return read_cohort(root, column_map="acouslic", check_files=True)


@pytest.fixture(scope="module")
def shards(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "shards"
    quiet_packer(folder, folder.with_name("shards.private"), PACK).run(cohort)
    return folder


def test_the_ready_config_deals_all_subjects_and_asks_what_the_corpus_tells() -> None:
    config = read_settings(RunConfig, CONFIGS / "acouslic.yaml", [])
    assert config.pretrain is not None
    assert config.finetune is not None
    assert set(config.pretrain.tasks) == set(TASKS)
    assert config.finetune.tasks == ["ac_mm"]
    assert config.data.column_map == "acouslic"
    stages = (config.data.splits.stage1, config.data.splits.stage2)
    assert sum(sum(shares.model_dump().values()) for shares in stages) == 281


def recorded(cohort: Cohort) -> pd.Series:
    """Whether a sweep was recorded, or its part of the stack is black."""
    found = []
    for path, text in cohort.table[["path", "frame_range"]].itertuples(index=False):
        part = parse_frame_range(text)
        frames = read_clip(cohort.root / path).frames[part.start : part.stop]
        found.append(bool(frames.any()))
    return pd.Series(found, cohort.table.index)


def test_the_layout_gives_back_its_cohort(root: Path, cohort: Cohort) -> None:
    right = pd.read_csv(root / "truth/cohort.csv", dtype="str")
    found = cohort.table
    assert len(found) == len(right) == 24  # one subject of three has two stacks
    for column in right.columns:
        if column in ("ac_mm", "mm_per_px"):
            np.testing.assert_allclose(found[column].astype(float), right[column].astype(float))
        else:
            assert found[column].tolist() == right[column].tolist(), column
    absent = set(found.columns) - set(right.columns) - {"line"}
    assert found[list(absent)].isna().all(axis=None)
    assert found["ac_mm"].notna().sum() >= 3
    assert found["ac_mm"].isna().sum() >= 3


def test_every_sweep_is_packed_without_its_fill(cohort: Cohort, shards: Path) -> None:
    is_recorded = recorded(cohort)
    assert not is_recorded.all()
    manifest = read_manifest(shards)
    assert len(manifest) == is_recorded.sum()
    assert set(manifest["frames"]) == {CONFIG.frames}
    assert manifest["patient"].nunique() == 3
    rejects = pd.read_csv(shards.with_name("shards.private") / REJECTS_NAME)
    black = cohort.table[~is_recorded]
    assert rejects[["path", "frame_range"]].values.tolist() == (
        black[["path", "frame_range"]].values.tolist()
    )
    assert set(rejects["reason"]) == {"unreadable: all frames of its part of the file are black"}
    outcomes = packing_outcome(shards, shards.with_name("shards.private"))
    assert outcomes.eq(PACKED).sum() == is_recorded.sum()
    assert outcomes.index.nunique() == len(cohort.table)


def load(shards: Path, root: Path) -> Corpus:
    splits = {"stage1": {"train": 1, "valid": 0}, "stage2": {"train": 1, "valid": 0, "test": 1}}
    data = DataConfig(shards=shards, cohort=root, column_map="acouslic", splits=splits)
    return load_corpus(data, list(TASKS.values()))


def test_labels_join_their_own_sweeps(root: Path, cohort: Cohort, shards: Path) -> None:
    corpus = load(shards, root)
    right = cohort.table[recorded(cohort)]
    keymap = pd.read_parquet(shards.with_name("shards.private") / KEYMAP_NAME).dropna(
        subset=["key"]
    )
    clips = keymap.merge(right, on=["path", "frame_range"])
    clips = clips.set_index("clip").loc[corpus.manifest["clip"]]
    np.testing.assert_array_equal(
        corpus.labels(TASKS["ac_mm"]), clips["ac_mm"].astype(float).to_numpy()
    )
    sagittal = clips["sweep_direction"].eq("sagittal").astype(int)
    np.testing.assert_array_equal(corpus.labels(TASKS["sweep_direction"]), sagittal)
    in_split = corpus.cohort[["split_stage1", "split_stage2"]].notna().sum(axis=1)
    assert in_split.eq(1).all()
    by_patient = corpus.cohort.groupby(corpus.manifest["patient"])
    one_split_each = by_patient[["split_stage1", "split_stage2"]]
    assert one_split_each.nunique().sum(axis=1).eq(1).all()


def test_a_frozen_cohort_keeps_parts_and_labels(
    root: Path, cohort: Cohort, shards: Path, tmp_path: Path
) -> None:
    freeze_cohort(root, tmp_path / "frozen", column_map="acouslic", shards=shards)
    names = [task.label for task in TASKS.values()]
    frozen = read_cohort(
        tmp_path / "frozen/cohort.csv", root=cohort.root, check_files=True, label_columns=names
    )
    columns = list(frozen.table.columns.drop("line"))
    assert set(names) < set(columns)
    pd.testing.assert_frame_equal(frozen.table[columns], cohort.table[columns])
    flow = pd.read_csv(tmp_path / "frozen/flow.csv")
    packed = len(read_manifest(shards))
    assert flow["clips"].tolist() == [24, 24, packed, packed]


def test_sources_are_verified_part_by_part(root: Path, cohort: Cohort, shards: Path) -> None:
    private = shards.with_name("shards.private")
    stack = cohort.root / cohort.table["path"].iloc[0]
    whole = stack.read_bytes()
    try:
        stack.write_bytes(whole[:-1])
        faults = list(verify_sources(shards, private, root))  # the folder above, too
    finally:
        stack.write_bytes(whole)
    first = cohort.table["path"].eq(cohort.table["path"].iloc[0])
    assert len(faults) == (first & recorded(cohort)).sum()
    assert all("incomplete or damaged" in str(fault) for fault in faults)
