"""Configs: every shipped file is valid, and every mistake names its place, value and cure."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bsou_dist.common.errors import InputError
from bsou_dist.common.settings import read_settings
from bsou_dist.experiment.config import RunConfig
from bsou_dist.packing.pack import PackConfig
from bsou_dist.phantom import PhantomConfig

CONFIGS = Path(__file__).parents[2] / "configs"
KINDS = {"phantom": PhantomConfig, "pack": PackConfig}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(path):
    model = KINDS.get(path.stem.rpartition("-")[2], RunConfig)
    settings = read_settings(model, path, [])
    written = yaml.safe_load(path.read_text())
    assert settings.model_dump(mode="json", include=set(written)).keys() == written.keys()


def run_config(tmp_path: Path, *overrides: str) -> RunConfig:
    path = tmp_path / "run.yaml"
    path.write_text("name: x\ndata: {shards: s, cohort: c.csv}\npretrain: {epochs: 3}\n")
    return read_settings(RunConfig, path, list(overrides))


def test_overrides_reach_their_place(tmp_path):
    config = run_config(
        tmp_path, "pretrain.temperature=0.2", "finetune.tasks=[ga, sweep]", "encoder.name=mc3_18"
    )
    assert config.pretrain is not None
    assert config.pretrain.epochs == 3
    assert config.pretrain.temperature == 0.2
    assert config.finetune is not None
    assert config.finetune.tasks == ["ga", "sweep"]
    assert config.encoder.name == "mc3_18"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "pretrain.temprature=0.2",
            r"pretrain\.temprature: no such key; did you mean 'temperature'\?",
        ),
        ("data.splits.stage1.trian=3", "did you mean 'train'"),
        ("zzz=1", "zzz: no such key; known here: name, seed"),
        ("pretrain.temperature=0", "pretrain.temperature: Input should be greater than 0, got 0"),
        (
            "pretrain.method=simclr",
            "pretrain.method: Input should be 'mtscon', 'mtce', 'ucon' or 'stsl', got 'simclr'",
        ),
        ("pretrain.tasks=[placenta, placenta]", "pretrain.tasks: name no task twice"),
        ("finetune.tasks=[weight]", "'weight' is not a task; known: ga_bin"),
        ("encoder.name=resnet50", "'resnet50' is not an encoder; known: r3d_small"),
        ("engine={name: ddp, zero_stage: 2}", "zero_stage is 2, but ddp shards nothing"),
        ("seed", "'seed' is not an override; write it as key.path=value"),
        ("name.first=x", "name is 'x', not a section"),
        ("seed=[1", "not YAML"),
        ("pretrain=null", "nothing to do"),
        (
            "pretrain.order={kind: balanced}",
            "say with order.by which of them to balance, such as 'ga_bin'",
        ),
        (
            "pretrain.order={kind: balanced, by: ga}",
            "pretrain.order.by: 'ga' is not a task with classes; known: ga_bin, presentation",
        ),
        (
            "pretrain.order={kind: windowed, group: 3}",
            "group is for kind 'grouped', and kind is 'windowed'",
        ),
        (
            "pretrain.order={kind: sorted}",
            "kind: Input should be 'shuffled', 'windowed', 'balanced' or 'grouped', got",
        ),
        (
            "finetune.order={kind: balanced}",
            "ga, dvp have no classes: say with order.by which classes to balance",
        ),
        ("pretrain.cache_rows=4", "pretrain.cache_rows cuts a batch into chunks"),
        (
            "encoder={weights: none, norm: frozen_batch}",
            "there are no statistics to keep: give weights",
        ),
        (
            "encoder.norm=layer",
            "encoder.norm: Input should be 'batch', 'sync_batch', 'frozen_batch' or 'group'",
        ),
        ("checkpoint.every_minutes=0", "checkpoint.every_minutes: Input should be greater than 0"),
        ("checkpoint.keep=0", "checkpoint.keep: Input should be greater than or equal to 1"),
        ("engine.hang_minutes=-1", "engine.hang_minutes: Input should be greater than 0"),
        ("stage1=runs/other", "give that section, and no 'pretrain' section"),
        ("pretrain.global_batch=1", "a contrastive loss compares clips: use 2 or more"),
        ("pretrain.temperature=.inf", "pretrain.temperature: Input should be a finite number"),
        ("finetune.sets=[main, main]", "name at least one set of patients and none twice"),
        ("finetune.sets=[]", "name at least one set of patients"),
        ("tracking.uri=postgres://x", "tracking address is 'postgres://x'"),
    ],
)
def test_mistakes_name_place_value_and_cure(tmp_path, override, message):
    with pytest.raises(InputError, match=message):
        run_config(tmp_path, override)


def test_all_faults_are_reported_at_once(tmp_path):
    with pytest.raises(InputError) as error:
        run_config(tmp_path, "sed=1", "feed.frames=0", "pretrain.epochs=many")
    assert all(place in str(error.value) for place in ("sed:", "feed.frames:", "pretrain.epochs:"))


def test_files_that_are_no_config(tmp_path):
    with pytest.raises(InputError, match="no config at"):
        read_settings(RunConfig, tmp_path / "absent.yaml", [])
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="must hold keys"):
        read_settings(RunConfig, tmp_path / "list.yaml", [])
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not YAML"):
        read_settings(RunConfig, tmp_path / "bytes.yaml", [])
