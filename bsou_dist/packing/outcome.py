"""What packing made of each clip of a cohort, by its name, for whoever holds the private folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bsou_dist.cohort.frame_ranges import clip_names
from bsou_dist.common.csv_cells import unescaped_cell
from bsou_dist.common.errors import InputError
from bsou_dist.packing.private_folder import KEYMAP_NAME, REJECTS_NAME
from bsou_dist.packing.shard_record import reason_class
from bsou_dist.shards.manifest import read_summary

PACKED = "packed"


def packing_outcome(shards: Path, private: Path) -> pd.Series:
    """Tell what became of each clip, by ``clip_names``: ``PACKED``, or why it was rejected.

    Of the reason its class is told.

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
    names = clip_names(pd.read_parquet(private / KEYMAP_NAME))
    rejects = pd.read_csv(private / REJECTS_NAME, dtype="str", keep_default_na=False, na_values="")
    rejects["path"] = rejects["path"].map(unescaped_cell)
    reasons = rejects["reason"].map(reason_class)
    reason_of_clip = reasons.set_axis(clip_names(rejects))
    outcomes = names.map(reason_of_clip).fillna(PACKED)
    return outcomes.set_axis(names)
