"""What gpu_check.py checks and measures, a function per part.

A part gives rows. A row says its `result` ('passed', 'failed' or 'skipped') and `why`, or it only
holds figures.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from gpu_ranks import CLASSES, TASKS, TEMPERATURE, Job, difference, gradient, on_ranks, train
from torch.nn import functional as F

HERE = Path(__file__).parent
Rows = Iterator[dict[str, Any]]
REPEATS, DIM = 5, 256


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    loss_rows: tuple[int, ...]
    clips: int
    frames: int
    size_px: int
    encoder: str
    demo: tuple[str, ...]
    """Settings of the demo's run."""
    demo_patients: int

    @property
    def job(self) -> Job:
        """Training that is compared; its clips do not divide by three ranks."""
        return Job(self.encoder, self.clips, self.frames, self.size_px)


ON_GPU = Scale(
    (8192, 32768, 131_072),
    clips=32,
    frames=16,
    size_px=112,
    encoder="r3d_18",
    demo=(),
    demo_patients=280,
)
ON_CPU = Scale(
    (512, 1024),
    clips=5,
    frames=4,
    size_px=32,
    encoder="r3d_small",
    demo=(
        "data.splits={stage1: {train: 10, valid: 4}, stage2: {train: 6, valid: 4, test: 4}}",
        "pretrain.epochs=1",
        "finetune.epochs=1",
        "finetune.tasks=[ga, placenta]",
        "feed.size_px=32",
        "feed.frames=4",
        "pretrain.global_batch=8",
        "finetune.global_batch=8",
    ),
    demo_patients=40,
)
"""To try this script; its figures say nothing."""


def gpu_counts(device: str) -> list[int]:
    """Numbers of GPUs that are worth a look on this machine; of processes, where there are none."""
    there = torch.cuda.device_count() if device != "cpu" else 2
    return sorted({count for count in (1, 2, there) if count <= there})


def needs_two(device: str) -> dict[str, Any]:
    """A row that says so, where there is but one GPU."""
    return {"gpus": 2, "result": "skipped", "why": "this machine has one GPU"}


def judged(value: float, allowed: float) -> dict[str, Any]:
    """What is said of a relative difference."""
    passed = value <= allowed  # not so for NaN
    return {
        "differs_by": float(f"{value:.2e}"),
        "allowed": allowed,
        "result": "passed" if passed else "failed",
    }


def lacks(package: str) -> str | None:
    """Why a package cannot be used; None if it can."""
    try:
        found = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it is in
        found = False
    return None if found else f"{package} is not installed"


def seconds(run: Callable[[], Any], device: str) -> float:
    """Median time of a call that has been warmed up."""
    run()
    taken = []
    for _ in range(REPEATS):
        synchronize(device)
        began = time.perf_counter()
        run()
        synchronize(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def extra_mb(run: Callable[[], Any], device: str) -> float | None:
    """Peak of device memory over what was held before, MB."""
    if device == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)


def tests(scale: Scale, device: str) -> Rows:
    """The tests marked `gpu`: how many passed, and what failed or was skipped and why."""
    if why := lacks("pytest"):
        yield {"result": "skipped", "why": why}
        return
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-m",
                "gpu",
                "--continue-on-collection-errors",
                f"--junit-xml={report}",
            ],
            cwd=HERE.parent,
            capture_output=True,
            text=True,
        )
        if not report.is_file():
            raise RuntimeError(f"pytest left no report: {(done.stdout + done.stderr)[-500:]}")
        cases = ElementTree.parse(report).getroot().iter("testcase")
        for case in cases:
            name = "::".join(filter(None, [case.get("classname"), case.get("name")]))
            bad = next(
                (child for child in case if child.tag in ("failure", "error", "skipped")), None
            )
            text = "" if bad is None else f"{bad.get('message') or ''}\n{bad.text or ''}"
            missing = [
                line.lstrip("E ") for line in text.splitlines() if "ModuleNotFoundError: " in line
            ]
            result = (
                "passed"
                if bad is None
                else "skipped"
                if bad.tag == "skipped" or missing
                else "failed"
            )
            why = (missing or text.strip().splitlines() or [""])[0]
            yield {"test": name, "result": result, "why": why[:200]}


def loss(scale: Scale, device: str) -> Rows:
    """The contrastive loss, forward and backward, with compiled and with eager tiles, beside its
    matrix products.
    """
    from bsou_dist.objective import fused_tiles
    from bsou_dist.objective.contrastive import multitask_supcon
    from bsou_dist.objective.contrastive_positives import TILE_ROWS

    kind = torch.device(device).type
    default = fused_tiles.FUSED[kind]
    for number in scale.loss_rows:
        generator = torch.Generator().manual_seed(0)
        z = (
            F.normalize(torch.randn(TASKS, number, DIM, generator=generator), dim=-1)
            .to(device)
            .requires_grad_()
        )
        labels = torch.randint(0, CLASSES, (TASKS, number), generator=generator).to(device)

        def both(z: torch.Tensor = z, labels: torch.Tensor = labels) -> torch.Tensor:
            return torch.autograd.grad(multitask_supcon(z, labels, temperature=TEMPERATURE), z)[0]

        products_s = seconds(lambda z=z: matrix_products(z.detach(), TILE_ROWS[kind]), device)
        gradients, rows = {}, []
        for fused in (True, False):
            fused_tiles.FUSED[kind] = fused
            row = {
                "rows": number,
                "tiles": "compiled" if fused else "eager",
                "default": fused == default,
            }
            row |= {"s": round(seconds(both, device), 4), "matrix_products_s": round(products_s, 4)}
            row |= {
                "over_products": round(row["s"] / products_s, 2),
                "extra_mb": extra_mb(both, device),
            }
            gradients[fused] = both()
            rows.append(row)
        fused_tiles.FUSED[kind] = default
        apart = (gradients[True] - gradients[False]).norm() / gradients[False].norm()
        yield from (row | judged(float(apart), 1e-4) for row in rows)


def matrix_products(z: torch.Tensor, side: int) -> None:
    """What the loss cannot do without: every pair of tiles once forward, and in backward again,
    with two products.
    """
    gradient = torch.zeros_like(z[0])
    for one in z:
        tiles = [slice(at, at + side) for at in range(0, len(one), side)]
        for number, rows in enumerate(tiles):
            for columns in tiles[number:]:
                one[rows] @ one[columns].T
                scores = one[rows] @ one[columns].T
                gradient[rows].addmm_(scores, one[columns])
                if columns != rows:
                    gradient[columns].addmm_(scores.T, one[rows])


def step(scale: Scale, device: str) -> Rows:
    """A training step of MTSCon on clips that are on the device, by GPUs, engine, precision and
    gradient caching.
    """
    if why := lacks("deepspeed"):
        yield {"engine": "deepspeed", "result": "skipped", "why": why}
    engines = ["ddp"] if why else ["ddp", "deepspeed"]
    precisions = ["float32", "bfloat16"] if device != "cpu" else ["float32"]
    for world in gpu_counts(device):
        for name in engines:
            for precision in precisions:
                for chunks in (1, 4):
                    engine = {"name": name, "precision": precision}
                    job = replace(scale.job, engine=engine, chunks=chunks, steps=7)
                    ranks = on_ranks(world, train, job)
                    slowest = max(rank.step_s for rank in ranks)
                    yield {
                        "gpus": world,
                        "engine": name,
                        "precision": precision,
                        "cached": chunks > 1,
                        "encoder": scale.encoder,
                        "clips": scale.clips,
                        "clip": f"{scale.frames} x {scale.size_px} px",
                        "s": round(slowest, 4),
                        "clips_per_s": round(scale.clips / slowest, 1),
                        "peak_mb": ranks[0].peak_mb,
                    }


def decode(scale: Scale, device: str) -> Rows:
    """JPEG clips of speckle to frames on the device, by DALI there, by DALI on the CPU and by the
    plain decoder.
    """
    import numpy as np

    from bsou_dist.feed.decode.reference import ReferenceDecoder
    from bsou_dist.shards.codec import encode_frames

    random = np.random.default_rng(0)
    shape = (scale.frames, scale.size_px, scale.size_px)
    wanted = np.arange(scale.frames)
    requests = []
    for _ in range(scale.clips):
        data, offsets = encode_frames(
            random.rayleigh(60, shape).clip(0, 255).astype(np.uint8),
            "jpeg",
            jpeg_quality=90,
            crf=20,
        )
        requests.append(
            (
                data,
                {
                    "codec": "jpeg",
                    "frames": scale.frames,
                    "height": scale.size_px,
                    "width": scale.size_px,
                    "frame_offsets": offsets,
                },
                wanted,
            )
        )
    decoders: dict[str, Any] = {"reference": ReferenceDecoder()}
    if why := lacks("nvidia.dali"):
        yield {"decoder": "DALI", "result": "skipped", "why": why}
    else:
        from bsou_dist.feed.decode.dali import DaliDecoder

        decoders |= {
            f"DALI, {where}": DaliDecoder("jpeg", where, 4)
            for where in dict.fromkeys(["cpu", device])
        }
    for name, decoder in decoders.items():
        taken = seconds(
            lambda decoder=decoder: [clip.to(device) for clip in decoder.decode(requests)], device
        )
        yield {
            "decoder": name,
            "clip": f"{scale.frames} x {scale.size_px} px",
            "clips_per_s": round(scale.clips / taken, 1),
        }


def feed(scale: Scale, device: str) -> Rows:
    """Augmented batches on the device, from shards, as training gets them; and how long a slower
    consumer waits.
    """
    from feed import BATCH, write_corpus

    from bsou_dist.feed.augment import AugmentConfig
    from bsou_dist.feed.dataset import ClipSet
    from bsou_dist.feed.loader import Loader
    from bsou_dist.feed.pixels import FeedConfig, Pixels
    from bsou_dist.feed.quarantine import Quarantine
    from bsou_dist.shards.manifest import read_manifest

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "corpus"
        write_corpus(folder, 8 * BATCH, patients=2)
        clips = ClipSet(folder / "shards", read_manifest(folder / "shards"), {})
        for decoder in ("auto", "reference"):
            pixels = Pixels(
                clips,
                FeedConfig(decoder=decoder, threads=4),
                augment=AugmentConfig(),
                seed=0,
                quarantine=Quarantine(folder, 0),
                device=device,
            )
            loader = Loader(clips, pixels, global_batch=BATCH, seed=0, training=True)
            taken = seconds(
                lambda loader=loader: [batch.clips.sum() for batch in loader.epoch(0)], device
            )
            waited = []
            for batch in loader.epoch(1):
                waited.append(batch.data_wait_s)
                time.sleep(
                    2 * taken / loader.steps()
                )  # a training step twice as long as a batch takes to make
            yield {
                "decoder": decoder,
                "clips_per_s": round(len(clips) / taken, 1),
                "wait_of_a_slower_consumer_ms": round(1e3 * sum(waited[2:]) / len(waited[2:]), 2),
            }


def demo(scale: Scale, device: str) -> Rows:
    """The demo's run of MTSCon, from patients to table, on one GPU and on two."""
    if why := lacks("mlflow"):
        yield {"result": "skipped", "why": why}
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cli = [sys.executable, "-m", "bsou_dist.cli"]
        cohort, shards = folder / "cohort", folder / "shards"
        patients = ["--config", "configs/demo-phantom.yaml", f"patients={scale.demo_patients}"]
        ran([*cli, "phantom", str(cohort), *patients])
        ran([*cli, "pack", str(cohort / "cohort.csv"), str(shards), *DEMO_PACK])
        for world in gpu_counts(device)[:2]:
            settings = [
                f"output={folder}/runs-{world}",
                f"data.shards={shards}",
                f"data.cohort={cohort}/cohort.csv",
                *([] if lacks("deepspeed") is None else ["engine.name=ddp"]),
                *scale.demo,
            ]
            began = time.perf_counter()
            ran(
                ["launch/torchrun.sh", "configs/demo.yaml", *settings],
                NPROC=str(world),
                PYTHON=sys.executable,
            )
            yield {
                "gpus": world,
                "result": "passed",
                "s": round(time.perf_counter() - began, 1),
                **tested(folder / f"runs-{world}/mtscon/records.csv"),
            }
    if gpu_counts(device) == [1]:
        yield needs_two(device)


DEMO_PACK = ["--config", "configs/demo-pack.yaml"]


def ran(command: list[str], **environment: str) -> None:
    """Run a command in the checkout; RuntimeError with its last words if it fails."""
    done = subprocess.run(
        command,
        cwd=HERE.parent,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{command[:4]} ended with {done.returncode}: {done.stderr[-800:]}")


def tested(records: Path) -> dict[str, float]:
    """The primary figure of each task of a run."""
    import pandas as pd

    table = pd.read_csv(records)
    primary = table[table["metric"].isin(["accuracy", "mae"]) & table["set"].eq("main")]
    by_task = primary.groupby("task")["value"].last()
    return {f"{task}": round(value, 3) for task, value in by_task.items()}


def equal(scale: Scale, device: str) -> Rows:
    """Loss and gradient of one batch: a GPU against the CPU, and several GPUs against one."""
    job = scale.job
    [on_cpu] = on_ranks(1, gradient, job, True)
    [alone] = on_ranks(1, gradient, job)
    yield {"of": "one GPU against the CPU", **compared(alone, on_cpu, 1e-3)}
    for world in gpu_counts(device)[1:]:
        for rank, found in enumerate(on_ranks(world, gradient, job)):
            what = f"{world} GPUs, rank {rank}, against one"
            yield {"of": what, **compared(found, alone, 5e-5)}
    if gpu_counts(device) == [1]:
        yield needs_two(device)


def compared(found: Any, expected: Any, allowed: float) -> dict[str, Any]:
    """What is said of a loss and a gradient beside those expected."""
    of_loss = abs(found[0] - expected[0]) / abs(expected[0])
    row = judged(difference(found[1], expected[1]), allowed)
    row["loss_differs_by"] = float(f"{of_loss:.2e}")
    if not of_loss <= allowed:
        row["result"] = "failed"
    return row


def zero(scale: Scale, device: str) -> Rows:
    """Weights after some steps by DeepSpeed at every stage of ZeRO, against plain PyTorch's; and
    what the stages save.
    """
    if why := lacks("deepspeed"):
        yield {"result": "skipped", "why": why}
        return
    from bsou_dist.engine.make import EngineConfig

    stages = get_args(EngineConfig.model_fields["zero_stage"].annotation)
    for world in gpu_counts(device):
        plain = on_ranks(world, train, scale.job)[0]
        for stage in stages:
            for precision in ["float32", "bfloat16"] if device != "cpu" else ["float32"]:
                engine = {"name": "deepspeed", "zero_stage": stage, "precision": precision}
                row = {"gpus": world, "zero_stage": stage, "precision": precision}
                try:
                    found = on_ranks(world, train, replace(scale.job, engine=engine))[0]
                except Exception as error:  # the other stages are still worth a look
                    yield row | {"result": "failed", "why": last_words(error)}
                    continue
                allowed = 1e-4 if precision == "float32" else 2e-2
                apart = abs(found.losses[-1] - plain.losses[-1]) / abs(plain.losses[-1])
                row |= judged(apart, allowed)
                row["weights_differ_by"] = float(f"{difference(found.weights, plain.weights):.2e}")
                yield row | {"step_s": round(found.step_s, 4), "peak_mb": found.peak_mb}
    if gpu_counts(device) == [1]:
        yield needs_two(device)


class Switch(NamedTuple):
    """A switch for speed."""

    engine: dict[str, Any]
    """How a config asks for it."""
    allowed: float
    """How far the loss may be from that of plain float32 after some steps, relatively."""
    on_cpu: bool = True


SWITCHES = {
    "tf32": Switch({"precision": "tf32"}, 1e-2, on_cpu=False),
    "bfloat16": Switch({"precision": "bfloat16"}, 2e-2, on_cpu=False),
    "channels_last": Switch({"channels_last": True}, 1e-3),
    "fused_optimizer": Switch({"fused_optimizer": True}, 1e-3),
    "compile_encoder": Switch({"compile_encoder": True}, 1e-3),
    "activation_checkpointing": Switch({"activation_checkpointing": True}, 1e-3),
    "cudnn_benchmark": Switch({"cudnn_benchmark": True}, 1e-3, on_cpu=False),
    "deterministic": Switch({"deterministic": True}, 1e-3),
    "all that go together": Switch(
        {
            "precision": "bfloat16",
            "channels_last": True,
            "fused_optimizer": True,
            "compile_encoder": True,
            "cudnn_benchmark": True,
        },
        2e-2,
        on_cpu=False,
    ),
}


def switches(scale: Scale, device: str) -> Rows:
    """Every switch for speed against plain float32: the loss after some steps, time and memory.

    What is `deterministic` must moreover end with the same weights twice.
    """
    plain = on_ranks(1, train, scale.job)[0]
    yield {"switch": "none", "step_s": round(plain.step_s, 4), "peak_mb": plain.peak_mb}
    for name, switch in SWITCHES.items():
        if device == "cpu" and not switch.on_cpu:
            yield {"switch": name, "result": "skipped", "why": "for GPUs"}
            continue
        job = replace(scale.job, engine=scale.job.engine | switch.engine)
        times = 2 if name == "deterministic" else 1
        try:
            runs = [on_ranks(1, train, job)[0] for _ in range(times)]
        except Exception as error:  # the other switches are still worth a look
            yield {"switch": name, "result": "failed", "why": last_words(error)}
            continue
        found = runs[0]
        apart = abs(found.losses[-1] - plain.losses[-1]) / abs(plain.losses[-1])
        yield {
            "switch": name,
            **judged(apart, switch.allowed),
            "step_s": round(found.step_s, 4),
            "times_as_fast": round(plain.step_s / found.step_s, 2),
            "peak_mb": found.peak_mb,
        }
        if times > 1:
            again = difference(runs[1].weights, found.weights)
            yield {"switch": f"{name}, the weights of a second run", **judged(again, 0.0)}


def last_words(error: BaseException) -> str:
    """The end of what an error says, which is where a traceback of another process names it."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}"
