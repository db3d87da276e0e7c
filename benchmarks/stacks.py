"""How long a stack of six sweeps takes to pack, and how large its clips become.

A stack as ACOUSLIC-AI's are: 840 frames of 744 by 562 pixels at 0.28 mm, six sweeps of 105 frames
and 35 of black fill each, written by the phantom raw and compressed. Its six clips are read,
prepared and encoded one after another by one process, as `bsou pack` does by default; CPU time.

    .venv/bin/python benchmarks/stacks.py

Phantom results test software and controlled failure modes; they support no clinical finding.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one process is one core

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsou_dist.packing.encode_clip import EncodedClip, PackConfig, encode_clip
from bsou_dist.phantom import PHANTOM_NOTE, PhantomConfig
from bsou_dist.phantom.acouslic.stacks import (
    FRAMES_PER_SWEEP,
    frame_range,
    phantom_stacks,
    stack_frames,
)
from bsou_dist.phantom.files.meta_image import write_meta_image
from bsou_dist.sources.read_clip import read_clip

CONFIG = PhantomConfig(patients=1, frames=15, size_px=744, field_mm=208.32)
REPEATS = 7  # of each rendered sweep, to and fro, which makes 105 frames of it
MM_PER_PX = 0.28
RESULTS = Path(__file__).parent / "results/stacks.json"


def main() -> None:
    stack = next(phantom_stacks(CONFIG))
    frames = lengthened(stack_frames(stack, CONFIG))
    figures: dict[str, object] = {"note": PHANTOM_NOTE}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("raw", "compressed"):
            path = Path(folder) / f"{name}.mha"
            write_meta_image(path, frames, MM_PER_PX, compressed=name == "compressed")
            figures[name] = measured(path)
            path.unlink()
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULTS.read_text())


def lengthened(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The stack with each sweep played to and fro until it has 105 frames."""
    longer = np.zeros_like(frames)
    for start in range(0, len(frames), FRAMES_PER_SWEEP):
        sweep = frames[start : start + CONFIG.frames]
        turns = [sweep if turn % 2 == 0 else sweep[::-1] for turn in range(REPEATS)]
        longer[start : start + CONFIG.frames * REPEATS] = np.concatenate(turns)
    return longer


def measured(path: Path) -> dict[str, float]:
    """CPU seconds and bytes of a stack's six clips."""
    config = PackConfig()
    parts = [frame_range(place) for place in range(6)]
    encode_clip((path.parent, path.name, None, parts[0]), config)  # the first one imports and warms
    began_s = time.process_time()
    for part in parts:
        read_clip(path, config.prepare.max_frames, config.prepare.mm_per_px, part)
    read_s = time.process_time() - began_s
    began_s = time.process_time()
    clips = [encode_clip((path.parent, path.name, None, part), config) for part in parts]
    packed_s = time.process_time() - began_s
    packed = [clip for clip in clips if isinstance(clip, EncodedClip)]
    assert len(packed) == len(clips), clips
    return {
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "seconds_per_stack": round(packed_s, 1),
        "of_these_reading": round(read_s, 1),
        "packed_mb_per_stack": round(sum(len(clip.data) for clip in packed) / 1e6, 2),
        "frames_per_clip": packed[0].record["frames"],
    }


if __name__ == "__main__":
    main()
