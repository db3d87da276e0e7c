"""From a cohort table to packed shards, as `bsou pack` is told: all of it, a share, or no more than
an estimate.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bsou_dist import __version__
from bsou_dist.cohort.exclusions import left_out
from bsou_dist.cohort.table import read_cohort
from bsou_dist.common.files import check_outside
from bsou_dist.common.worker_pool import Limits
from bsou_dist.packing.encode_clip import PackConfig
from bsou_dist.packing.estimate import FEW_CLIPS, check_disk, estimate
from bsou_dist.packing.folder import PackSummary, is_begun, recipe_of
from bsou_dist.packing.pack import (
    KEY_NAME,
    Packing,
    Share,
    begin,
    begun_before,
    finish,
    pack_share,
    plan_packing,
)
from bsou_dist.packing.private_folder import PrivateFolder


@dataclass(frozen=True)
class PackOrder:
    """What `bsou pack` was told."""

    cohort: Path
    root: Path | None
    column_map: str | None
    out: Path
    private: Path
    config: PackConfig
    limits: Limits
    max_rejects: float


def begin_order(order: PackOrder, workers: int, jobs: int = 1) -> Packing | PackSummary:
    """Make all ready for `pack_one_share`, after an estimate where there is much to pack; the
    summary if all is packed.
    """
    packing, source = _plan(order)
    if isinstance(packing, Packing):
        _say_estimate(order, packing, workers, jobs, at_least=FEW_CLIPS)
        begin(packing, source)
    return packing


def only_estimate(order: PackOrder, workers: int, jobs: int = 1) -> PackSummary | None:
    """Print what packing will take and keep nothing, not even a new key; the summary if all is
    packed.
    """
    with TemporaryDirectory() as nowhere:
        known = (order.private / KEY_NAME).is_file() or recipe_of(order.out) is not None
        packing, _ = _plan(order if known else replace(order, private=Path(nowhere)))
        if isinstance(packing, PackSummary):
            return packing
        _say_estimate(order, packing, workers, jobs, at_least=1)
    return None


def pack_one_share(order: PackOrder, share: Share, workers: int) -> Packing | PackSummary:
    """Pack what is missing of a share of a folder that was begun; the summary if all is packed."""
    packing = begun_before(order.out, config=order.config, private=order.private)
    if isinstance(packing, Packing):
        pack_share(
            packing, share, workers=workers, limits=order.limits, max_rejects=order.max_rejects
        )
    return packing


def pack_all(order: PackOrder, workers: int) -> PackSummary:
    """Pack all that is missing and finish the folder."""
    packing = begin_order(order, workers)
    if isinstance(packing, PackSummary):
        return packing
    pack_share(
        packing, Share(), workers=workers, limits=order.limits, max_rejects=order.max_rejects
    )
    return finish(packing)


def _plan(order: PackOrder) -> tuple[Packing | PackSummary, dict[str, Any]]:
    """What is to be packed, and what that was read from.

    A folder that was begun from the same tables goes on with the plan made then: reading a large
    cohort and looking for all its files takes minutes, and a file that went away meanwhile is a
    reject, but a fault of a new cohort.
    """
    if order.cohort.is_dir():
        for corpus in (order.cohort, order.root or order.cohort):
            check_outside(corpus, order.out, order.private)
    asked = {
        "version": __version__,
        "config": order.config.model_dump(mode="json"),
        "cohort": str(order.cohort.absolute()),
        "root": str(order.root.absolute()) if order.root else None,
        "column_map": str(order.column_map) if order.column_map else None,
    }
    known = PrivateFolder(order.private).read_source() if is_begun(order.out) else None
    if (
        known
        and known["asked"] == asked
        and known["files"] == {name: _sha256(Path(name)) for name in known["files"]}
    ):
        return begun_before(order.out, config=order.config, private=order.private), known
    cohort = read_cohort(
        order.cohort, column_map=order.column_map, root=order.root, check_files=True
    )
    if lost := left_out(cohort.flow):
        counts = ", ".join(f"{count} {reason}" for reason, count in lost.items())
        print(
            f"note: left out before packing, of {cohort.flow[0].clips} clips: {counts}",
            file=sys.stderr,
        )
    for note in cohort.notes:
        print(f"note: {note}", file=sys.stderr)
    tables = [*cohort.files, *([Path(order.column_map)] if order.column_map else [])]
    files = {str(path.absolute()): _sha256(path) for path in tables}
    packing = plan_packing(
        cohort.table, cohort.root, order.out, config=order.config, private=order.private
    )
    return packing, {"asked": asked, "files": files}


def _sha256(path: Path) -> str | None:
    """Of a file; None if it is not there."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _say_estimate(
    order: PackOrder, packing: Packing, workers: int, jobs: int, at_least: int
) -> None:
    estimated = estimate(
        packing, workers=workers, jobs=jobs, limits=order.limits, at_least=at_least
    )
    if estimated is not None:
        print(estimated, flush=True)
        check_disk(estimated, order.out)
