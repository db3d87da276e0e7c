"""Intensity features of a run's clips: computed once by all processes, and kept for later runs.

A file of them is named by a hash of the data and of the clips that it is of, so that it cannot be
stale.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from bsou_dist.common.files import whole_file
from bsou_dist.experiment.context import Context
from bsou_dist.predict.intensity_features import FEATURES, clip_features, frames_to_look_at
from bsou_dist.shards.codec import CorruptClip, decode_frames
from bsou_dist.shards.reader import ShardReader

FOLDER = ".intensity"
VERSION = 1
"""Goes up with every change of what a feature is."""
CLIPS_PER_FILE = 2048
"""What an interruption loses at most, per process."""


def intensity_features(context: Context, split_columns: list[str]) -> pd.DataFrame | None:
    """Features of all clips of any split of some columns, by key. Collective.

    Returns:
        On the first process a row per clip that can be decoded, with `FEATURES`, `exam` and
        `sweep`; None on the others.

    Raises:
        Stopped: on every process, by a signal; what was computed is kept.
    """
    processes, config = context.processes, context.config
    manifest = context.corpus.used(split_columns).manifest
    folder = (config.output if config.data.cache else config.folder) / FOLDER
    parts = [
        manifest.iloc[first : first + CLIPS_PER_FILE]
        for first in range(0, len(manifest), CLIPS_PER_FILE)
    ]
    data = context.corpus.record.fingerprint
    paths = [folder / f"{_name(data, part)}.parquet" for part in parts]
    # The first process alone looks what is there: others may see older states of a file system.
    missing = processes.broadcast([n for n, path in enumerate(paths) if not path.is_file()])
    rounds = math.ceil(len(missing) / processes.world)
    hidden = None if processes.first else True
    for number in tqdm(range(rounds), desc="intensity", unit="part", disable=hidden):
        own = missing[number * processes.world + processes.rank :][:1]
        for part in own:
            processes.at(f"intensity features, part {part + 1} of {len(parts)}")
            _write(_features(context, parts[part]), paths[part])
        processes.at(None)
        processes.check_stop()
    processes.barrier()  # for what the others wrote
    if not processes.first:
        return None
    found = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    table = manifest[["key", "exam", "sweep"]].merge(found, on="key").set_index("key")
    if len(table) < len(manifest):
        print(
            f"note: {len(manifest) - len(table)} clips cannot be decoded; 'intensity only' does "
            "without them",
            file=sys.stderr,
        )
    return table


def _name(data: str, part: pd.DataFrame) -> str:
    """Hash of what the features of these clips are made from."""
    made_of = [str(VERSION), *FEATURES, data, *part["key"]]
    return hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:32]


def _features(context: Context, part: pd.DataFrame) -> pd.DataFrame:
    """Features by key of the clips that can be decoded."""
    reader = ShardReader(context.corpus.shards, part)
    columns = part[["frames", "size", "mm_per_px"]]
    records: list[dict[Any, float]] = columns.to_dict("records")
    with ThreadPoolExecutor(context.config.feed.threads, "bsou-intensity") as threads:
        rows = list(threads.map(partial(_of_clip, reader, records), range(len(part))))
    table = pd.DataFrame(np.array(rows).reshape(len(part), len(FEATURES)), columns=FEATURES)
    decoded = ~table["mean"].isna().to_numpy()
    return table.assign(key=part["key"].to_numpy())[decoded]


def _of_clip(reader: ShardReader, records: Sequence[dict[Any, float]], row: int) -> np.ndarray:
    """The features of a clip; NaN where it cannot be decoded."""
    try:
        meta, data = reader.read(row)
        frames = decode_frames(data, meta, frames_to_look_at(meta["frames"]))
    except CorruptClip:
        return np.full(len(FEATURES), np.nan)
    return clip_features(frames, records[row])


def _write(features: pd.DataFrame, path: Path) -> None:
    """Write whole or not at all; several runs may write the same file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.stem}-{secrets.token_hex(4)}.parquet")
    with whole_file(own) as temporary:
        features.to_parquet(temporary, index=False)
    own.replace(path)
