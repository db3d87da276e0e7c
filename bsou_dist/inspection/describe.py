"""What a shard folder holds, in words and as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from bsou_dist.common.errors import InputError
from bsou_dist.shards.codec import decode_frames
from bsou_dist.shards.manifest import read_manifest, read_member, read_summary
from bsou_dist.shards.pseudonyms import Pseudonymizer
from bsou_dist.sources.raw_clip import even_indices
from bsou_dist.tasks.task import Task

_COUNTED = ("sweep", "clip_class", "device", "operator", "site")
_CAPTION_PX = 14


def describe(
    shards_dir: Path,
    cohort_table: pd.DataFrame | None = None,
    pseudonymizer: Pseudonymizer | None = None,
    tasks: Mapping[str, Task] | None = None,
) -> str:
    """Count what a shard folder holds, as text; with the cohort and the key that it was packed
    with, by the labels of `tasks` too.

    Raises:
        InputError: not a finished shard folder, or none of its clips is in the cohort by this key.
    """
    summary, manifest = read_summary(shards_dir), read_manifest(shards_dir)
    counts, config = summary["counts"], summary["recipe"]["config"]
    lines = [
        f"{_counted(len(manifest), 'clip')} of "
        f"{_counted(manifest['patient'].nunique(), 'patient')}, "
        f"{_counted(manifest['study'].nunique(), 'study', 'studies')}, "
        f"{_counted(manifest['exam'].nunique(), 'exam')}, in {_counted(counts['shards'], 'shard')}",
        f"{counts['frames']} frames of {config['prepare']['size_px']} px, "
        f"{counts['bytes'] / 1e6:.1f} MB as "
        f"{config['codec']} ({counts['bytes'] / counts['frames'] / 1e3:.1f} kB a frame)",
        f"field of {config['prepare']['field_mm']:g} mm; "
        f"{_counted(counts['clips_without_spacing'], 'clip')} without spacing, "
        f"{counts['clips_losing_depth']} that lose depth",
        "rejected: "
        + (", ".join(f"{count} {reason}" for reason, count in counts["rejects"].items()) or "none"),
    ]
    for name in _COUNTED:
        lines += _count_lines(name, manifest[name])
    if cohort_table is not None and pseudonymizer is not None:
        labels = cohort_table.assign(
            clip=[pseudonymizer.clip(path) for path in cohort_table["path"]]
        )
        joined = manifest[["clip"]].merge(labels, on="clip", how="left", validate="one_to_one")
        found = int(joined["path"].notna().sum())
        if not found:
            same_key = pseudonymizer.fingerprint == summary["recipe"]["pseudonym_key"]
            raise InputError(
                f"no clip of {shards_dir} is in the cohort, and the pseudonym key is "
                + (
                    "that of these shards; name the cohort that they were packed from"
                    if same_key
                    else "not that of these shards; name theirs with --pseudonym-key"
                )
            )
        lines.append(f"labels of {_counted(found, 'clip')} found in the cohort table")
        for task in (tasks or {}).values():
            if task.label in joined:
                lines += task.summarise(_encoded(joined[task.label], task))
    return "\n".join(lines)


def _encoded(cells: pd.Series, task: Task) -> np.ndarray:
    """Labels of a task from a column of a cohort table, missing ones included."""
    filled = cells.astype(object).where(cells.notna(), None)
    return np.array([task.encode(cell) for cell in filled], dtype=task.label_dtype)


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def _count_lines(name: str, values: pd.Series) -> list[str]:
    counts = values.fillna("missing").value_counts()
    return [f"by {name}:", *(f"  {value:<24} {count:>8}" for value, count in counts.items())]


def contact_sheet(
    shards_dir: Path, picture: Path, *, clips: int = 12, frames: int = 6, tile_px: int = 128
) -> None:
    """Write a PNG with a row per clip, its frames from first to last, over as many devices and
    sweeps as fit.

    Raises:
        InputError: not a finished shard folder, or a shard of it is missing.
    """
    chosen = varied(read_whole_manifest(shards_dir), clips, ("device", "sweep"))
    row_px = tile_px + _CAPTION_PX
    sheet = Image.new("L", (frames * tile_px, len(chosen) * row_px))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for place, (_, row) in enumerate(chosen.iterrows()):
        record, data = read_member(shards_dir, row)
        described = [
            str(row[name]) for name in ("key", "sweep", "device", "operator") if pd.notna(row[name])
        ]
        scale = "no spacing" if pd.isna(row["mm_per_px"]) else f"{row['mm_per_px']:.2f} mm/px"
        draw.text((2, place * row_px + 1), " | ".join([*described, scale]), fill=255, font=font)
        decoded = decode_frames(data, record, even_indices(record["frames"], frames))
        for column, frame in enumerate(decoded):
            tile = Image.fromarray(frame).resize((tile_px, tile_px), Image.Resampling.BILINEAR)
            sheet.paste(tile, (column * tile_px, place * row_px + _CAPTION_PX))
    sheet.save(picture)


def check_picture(path: Path) -> None:
    """InputError if no PNG can be written there."""
    if path.suffix.lower() != ".png":
        raise InputError(f"{path} is no name for a picture; it must end in .png")
    if not path.parent.is_dir():
        raise InputError(
            f"there is no folder {path.parent} to write {path.name} to; make it, or name another"
        )


def read_whole_manifest(shards_dir: Path) -> pd.DataFrame:
    """The manifest, once all of its shards are there; InputError as `read_manifest`, or if one is
    missing.
    """
    manifest = read_manifest(shards_dir)
    missing = [name for name in manifest["shard"].unique() if not (shards_dir / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        raise InputError(
            f"shard {missing[0]}{more} missing from {shards_dir}, so there is no picture; 'bsou "
            "verify' "
            "tells all that is at fault"
        )
    return manifest


def varied(manifest: pd.DataFrame, clips: int, columns: Sequence[str]) -> pd.DataFrame:
    """At most so many rows: the first of each kind by these columns, then the second of each, and
    so on, in order.
    """
    turn = manifest.groupby([manifest[name].fillna("") for name in columns]).cumcount().to_numpy()
    order = np.argsort(turn, kind="stable")[:clips]
    return manifest.iloc[np.sort(order)]
