"""The trainer's own cost: its step, feed included, against a bare PyTorch loop and Lightning with
clips in memory.

All take the same network, loss (MTSCon), Adam, global batch and C heap
(`bsou_dist/engine/keep_memory.py`) in float32. The trainer is stage 1 as `bsou train` runs it
(clips from JPEG shards, augmentation, checkpoints, watchdog, MLflow on SQLite), with DDP and with
DeepSpeed at ZeRO 0, 1 and 2. The bare loop and Lightning (barebones: no logger, checkpoint or
progress bar) get four batches again and again; 'bare, default heap' is the bare loop as one would
start it. 'trainer, in memory' is the trainer with such batches (of r3d_small, next to which
decoding weighs): what lies between it and the trainer is decoding and augmenting on the cores that
train.

All start first; then they take turns: while one runs, the processes of all others are frozen, so
that the machine's moods meet all alike. Steps that a change of turns or a validation falls into are
not counted. A ratio is that of the median steps of one round; what is stated is the median over
rounds, the lowest and the highest.

`--data-wait` trains the demo's stage 1 on two processes instead, as its launcher does, and states
what share of the time the training steps waited for data.

    .venv/bin/pip install lightning
    .venv/bin/python benchmarks/step.py
    .venv/bin/python benchmarks/step.py --data-wait
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bsou_dist.cli import main as bsou

if TYPE_CHECKING:
    from bsou_dist.experiment.config import RunConfig
    from bsou_dist.experiment.context import Context

ROOT = Path(__file__).parents[1]
CORES = 2
BATCHES_IN_MEMORY = 4
WARM_UP_STEPS = 3
REPEATS = 100
"""How often a training clip stands in the corpus, so that few generated patients make long
epochs.
"""

TRAINER, BARE, LIGHTNING, DEFAULT_HEAP = "trainer ddp", "bare", "lightning", "bare, default heap"
IN_MEMORY = "trainer, in memory"
ZERO = {f"trainer zero {stage}": stage for stage in (0, 1, 2)}


@dataclass(frozen=True)
class Size:
    """A model with its clips; a peer does `turn_steps` whole steps at a time."""

    frames: int
    size_px: int
    packed_px: int
    global_batch: int
    turn_steps: int


SIZES = {"r3d_18": Size(16, 112, 128, 2, 3), "r3d_small": Size(12, 48, 96, 32, 12)}
"""[P1]'s encoder at its own frames and size, and the demo's."""


def make_corpus(folder: Path, size_px: int, patients: int) -> None:
    """A phantom cohort in `folder`/cohort, its shards in `folder`/shards."""
    for arguments in (
        ["phantom", f"{folder}/cohort", f"patients={patients}", "balanced=true", "seed=7"],
        [
            "pack",
            f"{folder}/cohort/cohort.csv",
            f"{folder}/shards",
            f"prepare.size_px={size_px}",
            "prepare.max_frames=24",
        ],
    ):
        assert bsou(arguments) == 0, arguments


def make_config(model: str, corpus: Path, output: Path, zero_stage: int | None) -> RunConfig:
    """Stage 1 of `model`; DDP where `zero_stage` is None."""
    from bsou_dist.experiment.config import RunConfig

    size = SIZES[model]
    return RunConfig.model_validate(
        {
            "name": "step",
            "output": output,
            "data": {
                "shards": corpus / "shards",
                "cohort": corpus / "cohort/cohort.csv",
                "phantom": True,
                "splits": {
                    "stage1": {"train": 14, "valid": 2},
                    "stage2": {"train": 1, "valid": 1, "test": 2},
                },
            },
            "feed": {"frames": size.frames, "size_px": size.size_px},
            "encoder": {"name": model, "weights": "none"},
            "engine": {"name": "ddp"}
            if zero_stage is None
            else {"name": "deepspeed", "zero_stage": zero_stage},
            "pretrain": {"global_batch": size.global_batch, "epochs": 1000},
        }
    )


def mark(data_wait_s: float | None = 0.0) -> None:
    """A step is done; None: something that is no step is done."""
    if os.environ["RANK"] == "0":
        print(json.dumps([time.monotonic(), data_wait_s]), flush=True)


def be_peer(name: str, config: RunConfig) -> None:
    """Train in this process until it is killed."""
    import pandas as pd

    from bsou_dist.engine.keep_memory import keep_freed_memory
    from bsou_dist.engine.processes import Processes, start_processes
    from bsou_dist.experiment.context import Context
    from bsou_dist.experiment.corpus import load_corpus
    from bsou_dist.experiment.pretrain import SPLIT_COLUMN, pretrain
    from bsou_dist.experiment.run import SPOOL_NAME
    from bsou_dist.tracking.mlflow_tracker import MlflowTracker
    from bsou_dist.tracking.tracker import NullTracker

    class Timed(Context):
        def report(self, values: dict[str, float], step: int) -> None:
            super().report(values, step)
            mark(values.get("train/data_wait_s"))

    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    once = load_corpus(config.data, list(config.used_tasks.values()))
    trained = once.cohort[SPLIT_COLUMN].eq("train")
    manifest, cohort = (
        pd.concat([table, *[table[trained]] * (REPEATS - 1)], ignore_index=True)
        for table in (once.manifest, once.cohort)
    )
    corpus = replace(once, manifest=manifest, cohort=cohort)
    if name in (BARE, LIGHTNING, DEFAULT_HEAP):
        if name != DEFAULT_HEAP:
            keep_freed_memory()
        context = Context(config, corpus, Processes(rank, world, "cpu"), NullTracker())
        (lightning if name == LIGHTNING else bare)(context)
        return
    if name == IN_MEMORY:
        feed_from_memory()
    with start_processes() as processes:
        tracker = (
            MlflowTracker(
                config.tracking_uri, config.tracking.experiment, config.folder / SPOOL_NAME
            )
            if processes.first
            else NullTracker()
        )
        assert config.pretrain
        pretrain(Timed(config, corpus, processes, tracker), config.pretrain)


def feed_from_memory() -> None:
    """Have feeds of training make some batches and give them again and again."""
    from bsou_dist.feed.loader import Loader

    made = Loader.epochs

    def epochs(self: Loader, first: int, end: int, start_step: int = 0) -> Iterator[Any]:
        if not self.training:
            yield from made(self, first, end, start_step)
            return
        batches = itertools.cycle(
            list(itertools.islice(made(self, first, end, start_step), BATCHES_IN_MEMORY))
        )
        for done in range(first * self.steps() + start_step, end * self.steps()):
            epoch, step = divmod(done, self.steps())
            yield replace(next(batches), epoch=epoch, step=step, data_wait_s=0.0)

    Loader.epochs = epochs  # type: ignore[method-assign]


def ingredients(context: Context) -> tuple[Any, Any, list[Any]]:
    """The trainer's own network and objective, and some batches."""
    from bsou_dist.experiment.methods import METHODS
    from bsou_dist.experiment.pretrain import prepare

    stage = context.config.pretrain
    assert stage
    prepared = prepare(context, stage, stage.tasks)
    return (
        prepared.network,
        METHODS[stage.method].objective(stage, stage.tasks),
        list(itertools.islice(prepared.train_feed.epoch(0), BATCHES_IN_MEMORY)),
    )


def bare(context: Context) -> None:
    """What one writes by hand."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    network, objective, batches = ingredients(context)
    if context.processes.world > 1:
        dist.init_process_group("gloo")
        network = DistributedDataParallel(
            network, broadcast_buffers=False, gradient_as_bucket_view=True
        )
    optimizer = torch.optim.Adam(
        network.parameters(), lr=context.config.pretrain.optim.learning_rate
    )
    network.train()
    for batch in itertools.cycle(batches):
        loss = objective(network(batch.clips, batch.slots), batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        mark()


def lightning(context: Context) -> None:
    """The same through Lightning's Trainer."""
    import torch
    from lightning import LightningModule, Trainer
    from lightning.pytorch.plugins.environments import LightningEnvironment
    from lightning.pytorch.strategies import DDPStrategy

    network, objective, batches = ingredients(context)

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def training_step(self, batch: Any, number: int) -> Any:
            mark()
            return objective(self.network(batch.clips, batch.slots), batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(
                self.parameters(), lr=context.config.pretrain.optim.learning_rate
            )

    world = context.processes.world
    strategy = (
        DDPStrategy(
            cluster_environment=LightningEnvironment(),
            process_group_backend="gloo",
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )
        if world > 1
        else "auto"
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=world,
        strategy=strategy,
        barebones=True,
        max_steps=-1,
        use_distributed_sampler=False,
    )
    trainer.fit(Module(), itertools.cycle(batches))


class Peer:
    """The processes of one peer, frozen but for its turns."""

    def __init__(self, name: str, model: str, world: int, corpus: Path, folder: Path) -> None:
        self.name, self.folder = name, folder / name.replace(" ", "-")
        self.folder.mkdir(parents=True)
        self.turns: list[tuple[float, float]] = []
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        self.ranks = []
        for rank in range(world):
            environment = os.environ | {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "NODE_RANK": "0",
                "OMP_NUM_THREADS": str(CORES // world),
            }
            with (
                (self.folder / f"{rank}.steps").open("wb") as steps,
                (self.folder / f"{rank}.log").open("wb") as log,
            ):
                self.ranks.append(
                    subprocess.Popen(
                        [
                            sys.executable,
                            __file__,
                            "--peer",
                            name,
                            model,
                            str(corpus),
                            str(self.folder),
                        ],
                        env=environment,
                        stdout=steps,
                        stderr=log,
                    )
                )

    def marks(self) -> list[Any]:
        """Of every step so far: when it was done, and how long it had waited for data."""
        lines = (self.folder / "0.steps").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("[") and line.endswith("\n")]

    def wait_for(self, steps: int) -> None:
        """Until `steps` more are done."""
        wanted = len(self.marks()) + steps
        while len(self.marks()) < wanted:
            if any(rank.poll() is not None for rank in self.ranks):
                sys.exit(
                    f"{self.name} has ended:\n"
                    + "\n".join(
                        log.read_text()[-3000:] for log in sorted(self.folder.glob("*.log"))
                    )
                )
            time.sleep(0.1)

    def send(self, number: signal.Signals) -> None:
        for rank in self.ranks:
            os.kill(rank.pid, number)

    def turn(self, steps: int) -> None:
        """Do some whole steps: what was under way when the turn began does not count."""
        began = time.monotonic()
        self.send(signal.SIGCONT)
        self.wait_for(steps + 1)
        self.send(signal.SIGSTOP)
        self.turns.append((began, time.monotonic()))

    def close(self) -> None:
        for rank in self.ranks:
            rank.kill()
            rank.wait()

    def rounds(self) -> list[tuple[float, float]]:
        """Per turn: the median seconds of its whole steps, and the mean of what they waited for
        data.
        """
        marks, rounds = self.marks(), []
        for began, ended in self.turns:
            steps = [
                (now[0] - before[0], now[1])
                for before, now in itertools.pairwise(marks)
                if None not in (before[1], now[1]) and began <= before[0] and now[0] <= ended
            ]
            rounds.append(
                (
                    statistics.median(step for step, _ in steps),
                    statistics.mean(wait for _, wait in steps),
                )
            )
        return rounds


def take_turns(
    model: str, world: int, names: list[str], rounds: int, corpus: Path, folder: Path
) -> dict[str, list[tuple[float, float]]]:
    """Of every peer, by round: seconds per step and of waiting for data."""
    peers: list[Peer] = []
    try:
        for name in names:
            peers.append(Peer(name, model, world, corpus, folder))
            peers[-1].wait_for(WARM_UP_STEPS)
            peers[-1].send(signal.SIGSTOP)
        for number in range(rounds + 1):
            for peer in peers if number % 2 else peers[::-1]:
                peer.turn(SIZES[model].turn_steps)
        for peer in peers:
            del peer.turns[0]  # its caches were cold, and its tracker made a data base
        return {peer.name: peer.rounds() for peer in peers}
    finally:
        for peer in peers:
            peer.close()


def compare_loops(found: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """The trainer and the other loops."""
    return {
        "step_ms": step_ms(found),
        **{
            f"trainer_over_{name.replace(', ', '_').replace(' ', '_')}": over(found, TRAINER, name)
            for name in found
            if name not in (TRAINER, IN_MEMORY)
        },
        **(
            {"trainer_in_memory_over_bare": over(found, IN_MEMORY, BARE)}
            if IN_MEMORY in found
            else {}
        ),
        "trainer_data_wait_share": spread(
            [wait_s / step_s for step_s, wait_s in found[TRAINER]], 4
        ),
    }


def compare_zero(found: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """What DeepSpeed costs over DDP within the trainer."""
    return {
        "step_ms": step_ms(found),
        "ms_over_ddp": {
            f"zero {ZERO[name]}": spread(
                [
                    1e3 * (one - ddp)
                    for (one, _), (ddp, _) in zip(rounds, found[TRAINER], strict=True)
                ],
                1,
            )
            for name, rounds in found.items()
            if name in ZERO
        },
    }


def over(found: dict[str, list[tuple[float, float]]], one: str, other: str) -> dict[str, float]:
    return spread(
        [ours / theirs for (ours, _), (theirs, _) in zip(found[one], found[other], strict=True)], 4
    )


def step_ms(found: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: spread([1e3 * step_s for step_s, _ in rounds], 1) for name, rounds in found.items()
    }


def spread(values: list[float], digits: int) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "low": round(min(values), digits),
        "high": round(max(values), digits),
    }


def data_wait(patients: int, epochs: int) -> dict[str, Any]:
    """Stage 1 of the demo on two processes, by its own launcher; what it says about waiting for
    data.
    """
    from bsou_dist.tracking.delivery import read_spool

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_corpus(folder, SIZES["r3d_small"].packed_px, patients)
        train, rest = round(0.43 * patients), round(0.07 * patients)
        splits = (
            f"data.splits={{stage1: {{train: {train}, valid: {rest}}}, "
            f"stage2: {{train: {rest}, valid: {rest}, test: {rest}}}}}"
        )
        subprocess.run(
            [
                str(ROOT / "launch/torchrun.sh"),
                str(ROOT / "configs/demo.yaml"),
                f"output={folder}/runs",
                f"data.shards={folder}/shards",
                f"data.cohort={folder}/cohort/cohort.csv",
                splits,
                f"pretrain.epochs={epochs}",
                "finetune=null",
            ],
            check=True,
            stdout=sys.stderr,
            env=os.environ | {"NPROC": "2", "PYTHON": sys.executable},
        )
        told = [
            event
            for event in read_spool(folder / "runs/mtscon/tracking.jsonl")
            if event["event"] == "metrics" and "train/data_wait_share" in event["values"]
        ]
    return {
        "patients": patients,
        "steps_per_epoch": told[0]["step"],
        "data_wait_share_by_epoch": [
            round(event["values"]["train/data_wait_share"], 4) for event in told
        ],
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peer", nargs=4, metavar=("NAME", "MODEL", "CORPUS", "FOLDER"), help=argparse.SUPPRESS
    )
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--processes", nargs="+", type=int, choices=(1, 2), default=[1, 2])
    parser.add_argument("--rounds", type=int, default=4, help="after one that is not counted")
    parser.add_argument(
        "--deepspeed", nargs="*", choices=SIZES, default=["r3d_18"], help="with these models too"
    )
    parser.add_argument(
        "--data-wait", action="store_true", help="only the demo's share of waiting for data"
    )
    parser.add_argument("--patients", type=int, default=60, help="of --data-wait; the demo has 280")
    parser.add_argument("--epochs", type=int, default=2, help="of --data-wait")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/step.json")
    options = parser.parse_args()
    if options.peer:
        name, model, corpus, folder = options.peer
        be_peer(name, make_config(model, Path(corpus), Path(folder), ZERO.get(name)))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of what ends the frozen peers
    result = json.loads(options.out.read_text()) if options.out.is_file() else {}
    if options.data_wait:
        result["demo"] = data_wait(options.patients, options.epochs)
        print(json.dumps(result["demo"]))
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    else:
        loops = [BARE, TRAINER, LIGHTNING, DEFAULT_HEAP]
        if importlib.util.find_spec("lightning") is None:
            print("lightning is not installed and left out; pip install lightning", file=sys.stderr)
            loops.remove(LIGHTNING)
        with tempfile.TemporaryDirectory() as place:
            for model in options.models:
                corpus = Path(place) / model
                make_corpus(corpus, SIZES[model].packed_px, patients=20)
                for world in options.processes:
                    folder = corpus / f"{world}"
                    of_model = [*loops, *([IN_MEMORY] if model == "r3d_small" else [])]
                    found = compare_loops(
                        take_turns(model, world, of_model, options.rounds, corpus, folder / "loops")
                    )
                    if model in options.deepspeed:
                        found["deepspeed"] = compare_zero(
                            take_turns(
                                model,
                                world,
                                [TRAINER, *ZERO],
                                options.rounds,
                                corpus,
                                folder / "deepspeed",
                            )
                        )
                    result[f"{model}, processes: {world}"] = found
                    print(f"{model}, processes: {world}:", json.dumps(found, indent=1), flush=True)
                    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
