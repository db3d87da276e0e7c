"""Two processes learn what one learns: the same loss curve through either engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gloo import run_ranks

from bsou_dist.common.settings import read_settings
from bsou_dist.engine.make import EngineConfig, make_engine
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.step import train_step
from bsou_dist.experiment.config import RunConfig
from bsou_dist.experiment.context import Context
from bsou_dist.experiment.corpus import load_corpus
from bsou_dist.experiment.methods import METHODS
from bsou_dist.experiment.pretrain import prepare
from bsou_dist.tracking.tracker import NullTracker

STEPS = 20
# with a larger one, rounding itself grows past 1e-4 within these steps on so small a model
LEARNING_RATE = 1e-5
ENGINES = ["ddp", "deepspeed"]


def _curves(rank: int, world: int, path: Path) -> dict[tuple[str, str], list[float]]:
    """Global losses of the first steps, by method and engine; 'untrained' takes steps too short
    to change a weight.
    """
    out = {}
    for method in ("mtscon", "mtce", "ucon"):
        config = read_settings(RunConfig, path, [f"pretrain.method={method}"])
        assert config.pretrain is not None
        processes = Processes(rank, world, "cpu")
        context = Context(
            config,
            load_corpus(config.data, list(config.used_tasks.values())),
            processes,
            NullTracker(),
        )
        for name in [*ENGINES, "untrained"]:
            prepared = prepare(context, config.pretrain, config.pretrain.tasks)
            engine = make_engine(
                prepared.network,
                EngineConfig(name="ddp" if name == "untrained" else name),
                OptimConfig(learning_rate=1e-30 if name == "untrained" else LEARNING_RATE),
                processes,
            )
            objective = METHODS[method].objective(config.pretrain, config.pretrain.tasks)
            batches = (
                batch for epoch in range(STEPS) for batch in prepared.train_feed.epoch(epoch)
            )
            out[method, name] = [
                train_step(engine, next(batches), objective, seed=0, rank=rank).loss
                for _ in range(STEPS)
            ]
            batches.close()
    return out


@pytest.fixture(scope="module")
def curves(corpus, tmp_path_factory):
    """By number of processes: what every rank saw."""
    path = tmp_path_factory.mktemp("curves") / "config.yaml"
    path.write_text(f"""
name: curves
output: {path.parent}
data: {{shards: {corpus}/shards, cohort: {corpus}/cohort/cohort.csv}}
feed: {{frames: 4, size_px: 32, decoder: reference}}
encoder: {{name: r3d_small, weights: none, norm: group}}
pretrain: {{global_batch: 9}}
""")
    return {world: run_ranks(world, _curves, path) for world in (1, 2)}


@pytest.mark.parametrize("method", ["mtscon", "mtce", "ucon"])
@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_give_the_loss_curve_of_one(curves, method, engine):
    alone = torch.tensor(curves[1][0][method, "ddp"])
    first, second = (torch.tensor(rank[method, engine]) for rank in curves[2])
    assert torch.equal(first, second), "the loss is global: every rank must see the same"
    assert (first - alone).abs().max() <= 1e-4
    untrained = torch.tensor(curves[1][0][method, "untrained"])
    assert (alone - untrained).abs().max() > 3e-3, (
        "training must matter for the curves to say anything"
    )
