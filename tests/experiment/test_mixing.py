"""Several sources as one corpus."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from p1_tasks import TASKS

from bsou_dist.cli import main
from bsou_dist.common.errors import InputError
from bsou_dist.common.settings import read_settings
from bsou_dist.experiment.config import RunConfig
from bsou_dist.experiment.corpus import load_corpus
from bsou_dist.experiment.data_config import DataConfig
from bsou_dist.experiment.mixing import check_together
from bsou_dist.feed.order.make import OrderConfig, make_order
from bsou_dist.predict.prediction_table import read_predictions
from bsou_dist.shards.reader import ShardReader

FIRST = {"stage1": {"train": 10, "valid": 4}, "stage2": {"train": 6, "valid": 4, "test": 4}}
SECOND = {"stage1": {"train": 4, "valid": 1}, "stage2": {"train": 1, "valid": 1, "test": 1}}


@pytest.fixture(scope="module")
def sources(corpus, few_clips, tmp_path_factory) -> dict[str, dict]:
    """The phantom cohort, and a second one whose table says nothing of the placenta."""
    folder = tmp_path_factory.mktemp("second")
    table = pd.read_csv(few_clips)
    shutil.copytree(few_clips.parent, folder / "cohort")
    table.assign(placenta=None).to_csv(folder / "cohort/cohort.csv", index=False)
    sizes = ["prepare.size_px=48", "shard_clips=16"]
    packed = [str(folder / "cohort/cohort.csv"), str(folder / "shards")]
    assert main(["pack", *packed, *sizes]) == 0
    return {
        "large": {
            "shards": str(corpus / "shards"),
            "cohort": str(corpus / "cohort/cohort.csv"),
            "splits": FIRST,
        },
        "small": {
            "shards": str(folder / "shards"),
            "cohort": str(folder / "cohort/cohort.csv"),
            "splits": SECOND,
            "weight": 0.5,
        },
    }


@pytest.fixture(scope="module")
def mixed(sources):
    return load_corpus(DataConfig.model_validate({"sources": sources}), list(TASKS.values()))


def test_sources_stand_one_behind_the_other_and_each_reads_its_own_shards(mixed, sources):
    alone = {
        name: load_corpus(
            DataConfig.model_validate({k: v for k, v in source.items() if k != "weight"}),
            list(TASKS.values()),
        )
        for name, source in sources.items()
    }
    for task in TASKS.values():
        np.testing.assert_array_equal(
            mixed.labels(task), np.concatenate([one.labels(task) for one in alone.values()])
        )
    reader = ShardReader(mixed.shards, mixed.manifest)
    assert reader.read(0)[0]["key"] == alone["large"].manifest["key"].iloc[0]
    assert reader.read(-1)[0]["key"] == alone["small"].manifest["key"].iloc[-1]
    for column in ("split_stage1", "split_stage2"):
        pd.testing.assert_series_equal(
            mixed.cohort[column],
            pd.concat([one.cohort[column] for one in alone.values()], ignore_index=True),
        )
    one_side = mixed.cohort.groupby(mixed.manifest["patient"])["split_stage1"].nunique()
    assert one_side.max() == 1
    assert len({alone["large"].record.fingerprint, mixed.record.fingerprint}) == 2


def test_a_batch_to_train_on_holds_each_sources_share(mixed):
    clips = mixed.clips("split_stage1", "train", [TASKS["sweep"]])
    assert clips.mixture.weights == {"large": 1.0, "small": 0.5}
    order = make_order(OrderConfig(), clips, 12, 0)
    from_small = clips.manifest["source"].eq("small").to_numpy()[order.epoch(0)].sum(axis=1)
    assert set(from_small) <= {3, 4, 5}
    assert mixed.clips("split_stage1", "valid", [TASKS["sweep"]]).mixture is None
    with pytest.raises(InputError, match="mixed in the order 'shuffled' only"):
        make_order(OrderConfig(kind="windowed"), clips, 12, 0)


def test_a_source_without_a_label_takes_no_share_of_training_but_is_tested(mixed):
    train = mixed.clips("split_stage2", "train", [TASKS["placenta"]])
    assert set(train.manifest["source"]) == set(train.mixture.weights) == {"large"}
    both = mixed.clips("split_stage2", "train", [TASKS["placenta"], TASKS["presentation"]])
    assert set(both.manifest["source"]) == {"large", "small"}
    test = mixed.clips("split_stage2", "test", [TASKS["placenta"]])
    assert set(test.manifest["source"]) == {"large", "small"}


def rows(**columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A manifest of two clips of two sources, and their cohort rows."""
    manifest = pd.DataFrame(
        {"source": ["large", "small"], "key": ["a", "b"], "patient": ["p", "p"]}
    )
    names = ("split_stage1", "split_stage2", "split_obese", "split_handheld")
    cohort = pd.DataFrame({name: [None, None] for name in names}, dtype="str")
    for name, values in columns.items():
        (manifest if name in manifest else cohort)[name] = values
    return manifest, cohort


@pytest.mark.parametrize(
    "splits",
    [
        {"split_stage2": ["train", "test"]},
        {"split_stage1": ["train", None], "split_stage2": [None, "test"]},
    ],
)
def test_a_patient_of_two_sources_must_be_on_one_side(sources, splits):
    known = DataConfig.model_validate({"sources": sources}).by_name
    with pytest.raises(InputError, match=r"large and small share 1 patients .* a pseudonym key"):
        check_together(known, *rows(**splits))
    check_together(known, *rows(**splits, patient=["p", "q"]))
    check_together(known, *rows(split_stage2=["train", "train"]))


def test_one_clip_in_two_sources_is_refused(sources):
    known = DataConfig.model_validate({"sources": sources}).by_name
    with pytest.raises(InputError, match="have 2 clips of the same key"):
        check_together(known, *rows(key=["a", "a"]))


def test_another_field_of_view_is_refused(sources, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    summary = json.loads((Path(sources["small"]["shards"]) / "shards.json").read_text())
    summary["recipe"]["config"]["prepare"]["field_mm"] = 96.0
    (other / "shards.json").write_text(json.dumps(summary))
    changed = sources | {"small": sources["small"] | {"shards": str(other)}}
    known = DataConfig.model_validate({"sources": changed}).by_name
    with pytest.raises(InputError, match=r"large 192\.0 mm, small 96\.0 mm"):
        check_together(known, *rows())


def test_a_run_on_two_sources_tests_the_patients_of_both(write_config, sources, tmp_path):
    path = write_config(data={"sources": sources, "phantom": True})
    assert main(["train", str(path), "pretrain.epochs=1", "finetune.epochs=1"]) == 0
    predictions = read_predictions(tmp_path / "runs/small/predictions.parquet")
    config = read_settings(RunConfig, path, [])
    both = load_corpus(config.data)
    tested = predictions.query("task == 'ga' and split == 'test'")["key"]
    in_test = both.cohort["split_stage2"].eq("test")
    assert set(tested) == set(both.manifest.loc[in_test, "key"])
    assert both.manifest.loc[in_test, "source"].nunique() == 2
    moved = [f"data.sources.small.shards={sources['small']['shards']}/."]
    assert main(["train", str(path), "pretrain.epochs=1", "finetune.epochs=1", *moved]) == 0
    heavier = ["data.sources.small.weight=2", "pretrain.epochs=1", "finetune.epochs=1"]
    assert main(["train", str(path), *heavier]) == 2
