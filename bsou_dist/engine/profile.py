"""A trace of some training steps, to be looked at in Perfetto or Chrome (chrome://tracing)."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import TracebackType

import torch
from torch import profiler

from bsou_dist.common.files import whole_file

SETTLING_STEPS = 3
"""Steps before the trace begins: the first ones allocate memory and choose kernels."""


class StepProfile:
    """Records what CPU and GPU do in `steps` training steps, as gzipped JSON at `path`.

    As a context it ends with training: a stage of fewer steps leaves a trace of those there are.
    """

    def __init__(self, steps: int, path: Path) -> None:
        activities = [profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(profiler.ProfilerActivity.CUDA)
        self.path = path
        self._profile = profiler.profile(
            activities=activities,
            schedule=profiler.schedule(wait=SETTLING_STEPS - 1, warmup=1, active=steps, repeat=1),
            on_trace_ready=self._write,
        )

    def __enter__(self) -> StepProfile:
        self._profile.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._profile.stop()

    def step(self) -> None:
        """Note the end of a step."""
        self._profile.step()

    def _write(self, profile: profiler.profile) -> None:
        plain = self.path.with_name(f"{self.path.name}.plain")
        profile.export_chrome_trace(str(plain))
        with whole_file(self.path) as temporary, gzip.open(temporary, "wb") as file:
            file.write(plain.read_bytes())
        plain.unlink()
