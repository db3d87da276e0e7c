"""Real processes that begin at once: what takes seconds to import is there already."""

from __future__ import annotations

import multiprocessing

STARTER = multiprocessing.get_context("forkserver")
"""Forks from a process that has imported these and done nothing else."""
STARTER.set_forkserver_preload(["bsou_dist.experiment.run", "mlflow", "deepspeed"])
