"""What works on this GPU and how fast: the tests marked `gpu`, then the loss, a training step and
decoding.

A part whose packages are not installed is skipped, and the report says so. Leaves gpu-check.json
and gpu-check.md; without a GPU it says so and ends.

    make gpu-check
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # runs from a checkout that nothing was installed for
PACKAGES = (
    "torch",
    "torchvision",
    "triton",
    "nvidia-dali-cuda130",
    "deepspeed",
    "webdataset",
    "mlflow",
    "pydantic",
    "av",
    "pydicom",
    "pytest",
)
REPEATS = 5
TASKS, DIM, CLASSES, TEMPERATURE = 4, 256, 4, 0.1


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    loss_rows: tuple[int, ...]
    clips: int
    frames: int
    size_px: int
    encoder: str


ON_GPU = Scale((8192, 65536), clips=32, frames=16, size_px=224, encoder="r3d_18")
ON_CPU = Scale((1024, 2048), clips=4, frames=8, size_px=64, encoder="r3d_small")
"""To try this script; its figures say nothing."""


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


def tests(scale: Scale, device: str) -> list[dict[str, Any]]:
    """The tests marked `gpu`: how many passed, and what failed or was skipped and why."""
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
        rows = []
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
            rows.append({"test": name, "result": result, "why": why[:200]})
        return rows


def loss(scale: Scale, device: str) -> list[dict[str, Any]]:
    """The contrastive loss, forward and backward, with compiled and with eager tiles, beside its
    matrix products.
    """
    from bsou_dist.objective import contrastive_tiled as tiled
    from bsou_dist.objective.contrastive import multitask_supcon

    rows = []
    kind = torch.device(device).type
    default = tiled.FUSED[kind]
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

        products_s = seconds(lambda z=z: matrix_products(z.detach(), tiled.TILE_ROWS[kind]), device)
        gradients = {}
        for fused in (True, False):
            tiled.FUSED[kind] = fused
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
        tiled.FUSED[kind] = default
        difference = (gradients[True] - gradients[False]).norm() / gradients[False].norm()
        rows[-2]["gradient_differs_by"] = rows[-1]["gradient_differs_by"] = float(
            f"{difference:.1e}"
        )
    return rows


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


def step(scale: Scale, device: str) -> list[dict[str, Any]]:
    """A training step of MTSCon on clips that are on the device, by engine, precision and gradient
    caching.
    """
    from bsou_dist.engine.caching import CachedStep
    from bsou_dist.engine.make import EngineConfig, make_engine
    from bsou_dist.engine.optim.config import OptimConfig
    from bsou_dist.engine.processes import start_processes
    from bsou_dist.engine.step import train_step
    from bsou_dist.feed.batch import Batch
    from bsou_dist.model.encoder import EncoderConfig, build_encoder
    from bsou_dist.model.network import PretrainNetwork, projection_heads
    from bsou_dist.objective.batch_objectives import MultitaskContrastive

    tasks = [f"task{number}" for number in range(TASKS)]
    index = torch.arange(scale.clips, device=device)
    there = torch.ones(scale.clips, dtype=torch.bool, device=device)
    batch = Batch(
        clips=torch.randn(
            scale.clips, 1, scale.frames, scale.size_px, scale.size_px, device=device
        ),
        slots=there[:, None],
        valid=there,
        labels=dict.fromkeys(tasks, index % CLASSES),
        key=[str(i) for i in range(scale.clips)],
        study=index,
        exam=index,
        subject=index,
        sweep=index,
        index=index,
        views=1,
        epoch=0,
        step=0,
    )
    objective = MultitaskContrastive(tasks, temperature=TEMPERATURE, positives="label")
    engines = ["ddp", "deepspeed"] if importlib.util.find_spec("deepspeed") else ["ddp"]
    rows = []
    with start_processes() as processes:
        for name in engines:
            for precision in ("float32", "bfloat16") if device != "cpu" else ("float32",):
                for cached in (None, CachedStep(scale.clips // 4, 4)):
                    encoder = build_encoder(
                        EncoderConfig(name=scale.encoder, weights="none", norm="group"),
                        frames=scale.frames,
                        size_px=scale.size_px,
                    )
                    engine = make_engine(
                        PretrainNetwork(encoder, projection_heads(tasks, encoder.dim)),
                        EngineConfig(name=name, precision=precision),
                        OptimConfig(learning_rate=1e-5),
                        processes,
                    )

                    def one(engine: Any = engine, cached: Any = cached) -> None:
                        train_step(engine, batch, objective, seed=0, rank=0, cached=cached)

                    taken = seconds(one, device)
                    rows.append(
                        {
                            "engine": name,
                            "precision": precision,
                            "cached": cached is not None,
                            "encoder": scale.encoder,
                            "clips": scale.clips,
                            "clip": f"{scale.frames} x {scale.size_px} px",
                            "s": round(taken, 4),
                            "clips_per_s": round(scale.clips / taken, 1),
                            "extra_mb": extra_mb(one, device),
                        }
                    )
                    engine.close()
    if "deepspeed" not in engines:
        rows.append({"engine": "deepspeed", "skipped": "not installed"})
    return rows


def decode(scale: Scale, device: str) -> list[dict[str, Any]]:
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
    rows: list[dict[str, Any]] = []
    if importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali"):
        from bsou_dist.feed.decode.dali import DaliDecoder

        decoders |= {
            f"DALI, {where}": DaliDecoder("jpeg", where, 4)
            for where in dict.fromkeys(["cpu", device])
        }
    else:
        rows.append({"decoder": "DALI", "skipped": "not installed"})
    for name, decoder in decoders.items():
        taken = seconds(
            lambda decoder=decoder: [clip.to(device) for clip in decoder.decode(requests)], device
        )
        rows.append(
            {
                "decoder": name,
                "clip": f"{scale.frames} x {scale.size_px} px",
                "clips_per_s": round(scale.clips / taken, 1),
            }
        )
    return rows


def feed(scale: Scale, device: str) -> list[dict[str, Any]]:
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

    rows = []
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
            rows.append(
                {
                    "decoder": decoder,
                    "clips_per_s": round(len(clips) / taken, 1),
                    "wait_of_a_slower_consumer_ms": round(
                        1e3 * sum(waited[2:]) / len(waited[2:]), 2
                    ),
                }
            )
    return rows


PARTS: dict[str, Callable[[Scale, str], list[dict[str, Any]]]] = {
    "tests": tests,
    "loss": loss,
    "step": step,
    "decode": decode,
    "feed": feed,
}


def check(device: str) -> dict[str, Any]:
    """All parts; one that cannot be done says why and does not keep the others from being done."""
    scale = ON_CPU if device == "cpu" else ON_GPU
    report: dict[str, Any] = {
        "device": platform.processor() or "CPU"
        if device == "cpu"
        else torch.cuda.get_device_name(),
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in PACKAGES},
    }
    for name, part in PARTS.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            report[name] = part(scale, device)
        except ModuleNotFoundError as error:
            report[name] = [{"skipped": f"{error.name} is not installed"}]
        except Exception as error:  # the report is what matters: one part's failure is a line in it
            report[name] = [
                {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
            ]
    return report


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def markdown(report: dict[str, Any]) -> str:
    """The report for readers."""
    packages = ", ".join(f"{name} {found}" for name, found in report["packages"].items() if found)
    missing = ", ".join(name for name, found in report["packages"].items() if not found) or "none"
    lines = [
        "# GPU check",
        "",
        f"{report['device']}, Python {report['python']}. {packages}. Not installed: {missing}.",
    ]
    for part in PARTS:
        rows = report[part]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines += ["", f"## {part.capitalize()}", "", (PARTS[part].__doc__ or "").strip(), ""]
        if not rows:
            lines.append("nothing")
            continue
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += [
            "| "
            + " | ".join("" if row.get(key) is None else str(row[key]) for key in columns)
            + " |"
            for row in rows
        ]
    return "\n".join(lines) + "\n"


def failures(report: dict[str, Any]) -> int:
    """Parts and tests that failed."""
    return sum(
        "failed" in row or row.get("result") == "failed" for part in PARTS for row in report[part]
    )


def main() -> int:
    """Exit code 1 if anything failed; what was skipped is no failure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try this script"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the report")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: this machine has no CUDA device; nothing was checked or measured")
        return 0
    report = check(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu-check.json").write_text(json.dumps(report, indent=2) + "\n")
    (options.out / "gpu-check.md").write_text(markdown(report))
    print(markdown(report))
    return min(failures(report), 1)


if __name__ == "__main__":
    sys.exit(main())
