"""A picture of a shard folder: some of its clips, each from its first frame to its last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from bsou_dist.common.errors import InputError
from bsou_dist.common.shown_text import shown_text
from bsou_dist.shards.codec import CorruptClip, decode_frames
from bsou_dist.shards.manifest import read_manifest, read_member
from bsou_dist.sources.raw_clip import even_indices

_CAPTION_PX = 14
_CAPTION_COLUMNS = ("key", "sweep", "device", "operator")


def contact_sheet(
    shards_dir: Path, picture: Path, *, clips: int = 12, frames: int = 6, tile_px: int = 128
) -> dict[str, str]:
    """Write a PNG with a row per clip, over as many devices and sweeps as fit.

    Args:
        shards_dir: the shard folder.
        picture: the file to write.
        clips: how many clips at most.
        frames: how many frames of each at most, evenly chosen from first to last.
        tile_px: side of a frame on the sheet.

    Returns:
        Why clips among those chosen have no pictures, by key.

    Raises:
        InputError: not a finished shard folder, or a shard of it is missing.
    """
    chosen = varied(read_whole_manifest(shards_dir), clips, ("device", "sweep"))
    row_px = tile_px + _CAPTION_PX
    sheet = Image.new("L", (frames * tile_px, len(chosen) * row_px))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    damaged: dict[str, str] = {}
    for place, (_, row) in enumerate(chosen.iterrows()):
        top = place * row_px
        try:
            record, data = read_member(shards_dir, row)
            decoded = decode_frames(data, record, even_indices(record["frames"], frames))
        except (CorruptClip, OSError) as error:
            damaged[str(row["key"])] = str(error)
            draw.text((2, top + 1), f"{_caption(row)} | cannot be decoded", fill=255, font=font)
            continue
        draw.text((2, top + 1), _caption(row), fill=255, font=font)
        for column, frame in enumerate(decoded):
            tile = Image.fromarray(frame).resize((tile_px, tile_px), Image.Resampling.BILINEAR)
            sheet.paste(tile, (column * tile_px, top + _CAPTION_PX))
    sheet.save(picture)
    return damaged


def _caption(row: pd.Series) -> str:
    words = [shown_text(row[name], 40) for name in _CAPTION_COLUMNS if pd.notna(row[name])]
    scale = "no spacing" if pd.isna(row["mm_per_px"]) else f"{row['mm_per_px']:.2f} mm/px"
    return " | ".join([*words, scale])


def check_picture(path: Path) -> None:
    """Raise InputError if no PNG can be written there."""
    if path.suffix.lower() != ".png":
        raise InputError(f"{path} is no name for a picture; it must end in .png")
    if not path.parent.is_dir():
        raise InputError(
            f"there is no folder {path.parent} to write {path.name} to; make it, or name another"
        )


def read_whole_manifest(shards_dir: Path) -> pd.DataFrame:
    """Read the manifest of a folder that has all of its shards.

    Raises:
        InputError: not a finished shard folder (as `read_manifest`), or a shard of it is missing.
    """
    manifest = read_manifest(shards_dir, judging=True)
    missing = [name for name in manifest["shard"].unique() if not (shards_dir / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        raise InputError(
            f"shard {missing[0]}{more} missing from {shards_dir}, so there is no picture; "
            "'bsou verify' tells all that is at fault"
        )
    return manifest


def varied(manifest: pd.DataFrame, clips: int, columns: Sequence[str]) -> pd.DataFrame:
    """At most `clips` rows of a manifest, of as many kinds as there are, in its order.

    A kind is what the columns say: the first clip of each is taken, then the second of each, and so
    on.
    """
    kinds = [manifest[name].fillna("") for name in columns]
    turn = manifest.groupby(kinds).cumcount().to_numpy()
    by_turn = np.argsort(turn, kind="stable")
    chosen = np.sort(by_turn[:clips])
    return manifest.iloc[chosen]
