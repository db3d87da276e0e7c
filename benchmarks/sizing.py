"""What training on 1 to 128 GPUs asks of memory, network, disks and CPUs: docs/cluster.md's table.

Counted here, in this process: parameters, floating-point operations and bytes kept for backward of
one clip (networks on the CPU, without their values mattering), operations of the loss for one
pair of rows, and bytes of a packed clip of the phantom. All else is arithmetic on those. How fast a
GPU is stands nowhere: what depends on it is given for 1,000 clips/s of one GPU, or per TFLOP.

    .venv/bin/python benchmarks/sizing.py
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bsou_dist.cli import main as bsou
from bsou_dist.model.encoder import EncoderConfig, build_encoder
from bsou_dist.model.network import PretrainNetwork, projection_heads
from bsou_dist.objective.contrastive import multitask_supcon
from bsou_dist.shards.manifest import read_manifest

RESULTS = Path(__file__).parent / "results"
WORLDS = (1, 2, 4, 8, 16, 32, 64, 128)
GPUS_PER_NODE = 8
CLIPS_PER_GPU = 128
"""4,096 clips on 32 GPUs, as in configs/mtscon-large-batch.yaml."""
FAMLI_CLIPS = 654_448
TASKS = ("ga_bin", "presentation", "placenta", "sweep")
PROJECTION_DIM = 256
ENCODERS = {"r3d_18": (16, 112), "video_vit_l": (16, 224)}
"""Frames and pixels of a clip."""
FLOAT32_BYTES = 4
ADAM_NUMBERS = 2
"""Numbers that Adam keeps for each weight."""


@dataclass(frozen=True)
class Counted:
    """Of one network on one clip."""

    parameters: int
    gflop_per_clip: float
    """Forward and backward."""
    kept_mb_per_clip: float
    """What autograd keeps for backward in float32, without weights."""


def count_network(name: str) -> Counted:
    """Run one clip forward and backward, and count."""
    frames, size_px = ENCODERS[name]
    config = EncoderConfig(name=name, weights="none", norm="batch")
    encoder = build_encoder(config, frames=frames, size_px=size_px)
    network = PretrainNetwork(encoder, projection_heads(list(TASKS), encoder.dim))
    # Two clips: batch norm of the projections wants more than one row.
    clips, slots = torch.zeros(2, 1, frames, size_px, size_px), torch.ones(2, 1, dtype=torch.bool)
    kept = KeptForBackward(network)
    with FlopCounterMode(display=False) as flops, kept:
        torch.stack(network(clips, slots)).sum().backward()
    return Counted(
        parameters=sum(weight.numel() for weight in network.parameters()),
        gflop_per_clip=flops.get_total_flops() / len(clips) / 1e9,
        kept_mb_per_clip=kept.bytes / len(clips) / 1e6,
    )


class KeptForBackward(torch.autograd.graph.saved_tensors_hooks):
    """Counts what autograd keeps, every block of memory once, without a network's weights."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(self._keep, lambda tensor: tensor)
        self._seen = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
        self._alive: list[torch.Tensor] = []  # so that no block is freed and counted as another
        self.bytes = 0

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self._alive.append(tensor)
            self.bytes += storage.nbytes()
        return tensor


def loss_flop_per_pair(rows: int = 1024) -> float:
    """Operations of the loss, forward and backward, for a row of one rank and a row of any other.

    Ranks do not share the work on pairs of two ranks. In one process every pair is local and half
    of them are computed, hence twice what is counted.
    """
    z = torch.nn.functional.normalize(torch.randn(len(TASKS), rows, PROJECTION_DIM), dim=2)
    z.requires_grad_()
    labels = torch.randint(0, 5, (len(TASKS), rows))
    with FlopCounterMode(display=False) as flops:
        multitask_supcon(z, labels, temperature=0.1).backward()
    return 2 * flops.get_total_flops() / rows**2


def packed_clip_kb() -> float:
    """Mean size of a clip of the phantom as `bsou pack` leaves it by default."""
    with tempfile.TemporaryDirectory() as folder:
        cohort, shards = f"{folder}/cohort", f"{folder}/shards"
        for arguments in (
            ["phantom", cohort, "patients=4", "seed=7"],
            ["pack", f"{cohort}/cohort.csv", shards],
        ):
            assert bsou(arguments) == 0, arguments
        return float(read_manifest(Path(shards))["size"].mean() / 1e3)


def state_gb(parameters: int, world: int, zero_stage: int) -> float:
    """Weights, gradients and Adam's moments of one GPU, float32."""
    weights = gradients = parameters * FLOAT32_BYTES
    moments = ADAM_NUMBERS * parameters * FLOAT32_BYTES
    if zero_stage >= 1:
        moments /= world
    if zero_stage >= 2:
        gradients /= world
    if zero_stage >= 3:
        weights /= world
    return (weights + gradients + moments) / 1e9


def sizes(
    world: int, counted: dict[str, Counted], pair_flop: float, clip_kb: float
) -> dict[str, Any]:
    """One row of the table."""
    resnet = counted["r3d_18"]
    rows = CLIPS_PER_GPU * world
    ring = 2 * (world - 1) / world  # parts of the whole that a GPU sends in a ring's all-reduce
    loss_tflop = pair_flop * CLIPS_PER_GPU * rows / 1e12
    encoder_tflop = resnet.gflop_per_clip * CLIPS_PER_GPU / 1e3
    embeddings = len(TASKS) * rows * PROJECTION_DIM * FLOAT32_BYTES
    return {
        "gpus": world,
        "nodes": math.ceil(world / GPUS_PER_NODE),
        "global_batch": rows,
        "steps_per_epoch": FAMLI_CLIPS // rows,
        "ddp_state_gb": state_gb(resnet.parameters, world, 0),
        "kept_gb": resnet.kept_mb_per_clip * CLIPS_PER_GPU / 1e3,
        "embeddings_mb": embeddings / 1e6,
        "gradients_sent_mb": ring * resnet.parameters * FLOAT32_BYTES / 1e6,
        "embeddings_sent_mb": (world - 1) / world * embeddings / 1e6,
        "step_tflop": encoder_tflop + loss_tflop,
        "loss_share": loss_tflop / (encoder_tflop + loss_tflop),
        "read_gb_per_s": world * 1000 * clip_kb / 1e6,
        "vit_l_state_gb": {
            stage: state_gb(counted["video_vit_l"].parameters, world, stage)
            for stage in (0, 1, 2, 3)
        },
    }


def as_markdown(table: list[dict[str, Any]]) -> str:
    """The table of docs/cluster.md."""
    heads = {
        "GPUs (nodes)": lambda row: f"{row['gpus']} ({row['nodes']})",
        "global batch": lambda row: f"{row['global_batch']:,}",
        "steps per epoch": lambda row: f"{row['steps_per_epoch']:,}",
        "weights, gradients, moments (GB)": lambda row: f"{row['ddp_state_gb']:.2f}",
        "kept for backward (GB)": lambda row: f"{row['kept_gb']:.1f}",
        "all embeddings (MB)": lambda row: f"{row['embeddings_mb']:.1f}",
        "sent: gradients, embeddings (MB)": lambda row: (
            f"{row['gradients_sent_mb']:.0f}, {row['embeddings_sent_mb']:.1f}"
        ),
        "TFLOP of a step, the loss's share": lambda row: (
            f"{row['step_tflop']:.1f}, {row['loss_share']:.2%}"
        ),
        "read, all GPUs at 1,000 clips/s each (GB/s)": lambda row: f"{row['read_gb_per_s']:.2f}",
        "ViT-L: DDP, ZeRO 1, 2, 3 (GB)": lambda row: ", ".join(
            f"{gb:.2f}" for gb in row["vit_l_state_gb"].values()
        ),
    }
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell(row) for cell in heads.values()) + " |" for row in table]
    return "\n".join(lines)


def main() -> None:
    """Count, compute, print, and keep as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--result", type=Path, default=RESULTS / "sizing.json")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    counted = {name: count_network(name) for name in ENCODERS}
    pair_flop, clip_kb = loss_flop_per_pair(), packed_clip_kb()
    table = [sizes(world, counted, pair_flop, clip_kb) for world in WORLDS]
    feed = json.loads((RESULTS / "feed.json").read_text())["ways"]["bsou-dist (DALI)"]
    result = {
        "counted": {name: asdict(network) for name, network in counted.items()},
        "loss_flop_per_pair": pair_flop,
        "packed_clip_kb": clip_kb,
        "decoding_processor_ms_per_clip": feed["processor_ms_per_clip"],
        "table": table,
    }
    arguments.result.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: result[key] for key in result if key != "table"}, indent=2))
    print(as_markdown(table))


if __name__ == "__main__":
    main()
