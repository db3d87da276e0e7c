"""The files that clips were packed from, read again: would each still be packed today?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from bsou_dist.common.errors import InputError
from bsou_dist.common.frame_range import FrameRange, parse_frame_range
from bsou_dist.common.worker_pool import Lost, ordered_map
from bsou_dist.inspection.verify import Fault
from bsou_dist.packing.pack import LIMITS
from bsou_dist.packing.private_folder import KEYMAP_NAME
from bsou_dist.shards.manifest import read_manifest
from bsou_dist.sources.raw_clip import UnreachableClip, UnreadableClip
from bsou_dist.sources.read_clip import read_clip, refuse_outside

_FRAMES_READ = 2  # at most; whether a file is whole shows in any


def verify_sources(shards_dir: Path, private_dir: Path, root: Path) -> Iterator[Fault]:
    """Yield a fault for every clip whose source file would be rejected today, or is not there.

    Readers get better at telling damage: a file that an earlier version packed may have been too
    short for what its header claims, and its clip may show what was never in it.

    Args:
        shards_dir: the shard folder.
        private_dir: its private folder, which says which file became which clip.
        root: the folder that the cohort table's paths start from.

    Raises:
        InputError: the private folder is not that of these shards, or none of the files is there.
    """
    clips = _clips_with_sources(shards_dir, private_dir)
    root = _folder_of_files(root, clips["path"])
    requests = []
    for path, text in zip(clips["path"], clips["frame_range"], strict=True):
        part = None if pd.isna(text) else parse_frame_range(text)
        requests.append((root / path, root, part))
    reasons = tqdm(
        ordered_map(_fault_of_source, requests, len(os.sched_getaffinity(0)), LIMITS),
        total=len(requests),
        desc="sources",
        unit="clip",
        disable=None,
    )
    for key, shard, reason in zip(clips["key"], clips["shard"], reasons, strict=True):
        if isinstance(reason, Lost):
            reason = _rejected(reason.reason)
        if reason is not None:
            yield Fault(shard, key, f"its source {reason}")


def _folder_of_files(root: Path, paths: pd.Series) -> Path:
    """The folder that the paths start from: the one that was named, or the only one in it."""
    if any((root / path).exists() for path in paths):
        return root
    inner = [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []
    with_files = [folder for folder in inner if any((folder / path).exists() for path in paths)]
    if len(with_files) == 1:
        return with_files[0]
    raise InputError(
        f"{root}: none of the {len(paths)} packed files is there; name the folder that the "
        "paths of the cohort table start from"
    )


def _clips_with_sources(shards_dir: Path, private_dir: Path) -> pd.DataFrame:
    """Key, shard, path and frames of the source of every packed clip, in the manifest's order."""
    keymap_path = private_dir / KEYMAP_NAME
    if not keymap_path.is_file():
        raise InputError(
            f"{keymap_path} is missing, which says what clips were packed from; name the private "
            "folder of these shards with --private"
        )
    manifest = read_manifest(shards_dir)[["key", "shard"]]
    keymap = pd.read_parquet(keymap_path)
    # A folder of before parts of files could be clips has no such column.
    keymap = keymap.reindex(columns=["key", "path", "frame_range"]).dropna(subset=["key", "path"])
    clips = manifest.merge(keymap, on="key", how="left")
    if clips["path"].isna().any():
        raise InputError(f"{keymap_path} does not know all clips of {shards_dir}")
    return clips


def _fault_of_source(request: tuple[Path, Path, FrameRange | None]) -> str | None:
    """What is wrong with a file, or None."""
    path, root, part = request
    try:
        refuse_outside(path, root)
        read_clip(path, _FRAMES_READ, part=part)
    except UnreachableClip as error:
        return f"cannot be looked at ({error})"
    except UnreadableClip as error:
        return _rejected(str(error))
    return None


def _rejected(reason: str) -> str:
    return f"would be rejected today: {reason}; pack again without it or with a whole file"
