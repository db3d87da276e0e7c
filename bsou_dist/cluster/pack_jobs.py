"""Packing as an array of jobs, each with a share of the shards, and one after them that
finishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bsou_dist.cluster.options import SlurmOptions
from bsou_dist.cluster.plan import Plan, Step


def plan_pack(command: Sequence[str], array: int, options: SlurmOptions, folder: Path) -> Plan:
    """The plan of `bsou` with this command for packing on `array` tasks; logs go to `folder`."""
    shares = tuple(f"{number}/{array}" for number in range(1, array + 1))
    share = Step(
        "pack", tuple((*command, "--share", text) for text in shares), options, choices=shares
    )
    return Plan(
        (share, Step("pack-finish", (tuple(command),), options, after=(share.name,))), folder
    )
