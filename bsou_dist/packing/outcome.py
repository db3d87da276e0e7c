"""What packing made of each clip of a cohort, by path, for whoever holds the private folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bsou_dist.common.csv_cells import unescaped_cell
from bsou_dist.common.errors import InputError
from bsou_dist.packing.private_folder import KEYMAP_NAME, REJECTS_NAME
from bsou_dist.packing.shard_record import reason_class
from bsou_dist.shards.manifest import read_summary

PACKED = "packed"


def packing_outcome(shards: Path, private: Path) -> pd.Series:
    """Tell what became of each path: ``PACKED``, or the class of reason it was rejected for.

    Raises:
        InputError: the shards are not finished, or the private folder has not both files.
    """
    read_summary(shards)  # refuses shards that are not finished
    for name in (KEYMAP_NAME, REJECTS_NAME):
        if not (private / name).is_file():
            raise InputError(
                f"{private / name} is missing; 'bsou pack' leaves it beside the shards, for their "
                "owner"
            )
    paths = pd.read_parquet(private / KEYMAP_NAME, columns=["path"])["path"]
    rejects = pd.read_csv(private / REJECTS_NAME, dtype="str", na_filter=False)
    rejects["path"] = rejects["path"].map(unescaped_cell)
    reason_of_path = rejects.set_index("path")["reason"].map(reason_class)
    outcomes = paths.map(reason_of_path).fillna(PACKED)
    return outcomes.set_axis(paths)
