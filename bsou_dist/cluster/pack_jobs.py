"""Packing as jobs: an array, each with a share of the shards, and one after them that finishes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bsou_dist.cluster.options import SlurmOptions
from bsou_dist.cluster.plan import Plan, Step


def plan_pack(command: Sequence[str], array: int, options: SlurmOptions, folder: Path) -> Plan:
    """Plan the jobs of a `bsou pack` command, on an array of so many; logs go to `folder`."""
    shares = tuple(f"{number}/{array}" for number in range(1, array + 1))
    pack_a_share = tuple((*command, "--share", share) for share in shares)
    pack = Step("pack", pack_a_share, options, choices=shares)
    finish = Step("pack-finish", (tuple(command),), options, after=(pack.name,))
    return Plan((pack, finish), folder)
