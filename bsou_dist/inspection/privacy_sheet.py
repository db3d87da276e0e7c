"""A picture of what is left in the clips, for a human to judge: the most suspicious first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bsou_dist.inspection.describe import read_whole_manifest, varied
from bsou_dist.inspection.still_print import Stillness, Suspect, stillness
from bsou_dist.shards.codec import CorruptClip, decode_frames
from bsou_dist.shards.manifest import read_member

_COLUMNS = (
    "middle frame",
    "brightest over time",
    "what never moves",
    "mean over time, around the first box",
)
_CAPTION_PX = 16
_BOXES = 6  # drawn of each clip
_BOX_COLOUR, _TEXT_COLOUR = (255, 80, 60), (255, 255, 255)
_MARGIN_PX = 4  # around a box, as drawn
_ENLARGED_MARGIN_PX = 16  # and as enlarged: what stands beside a name may be its other half


def privacy_sheet(
    shards_dir: Path, picture: Path, *, clips: int = 24, tile_px: int = 224
) -> list[tuple[str, int]]:
    """Write a PNG with a row for each of some clips of all devices, sites and sweeps, the most
    suspicious on top.

    Returns:
        Key of each clip on the sheet, from top to bottom, and how many places in it are boxed or
        would be.

    Raises:
        InputError: not a finished shard folder, or a shard of it is missing.
    """
    chosen = varied(read_whole_manifest(shards_dir), clips, ("device", "site", "sweep"))
    looks = [(row, _look(shards_dir, row)) for _, row in chosen.iterrows()]
    looks.sort(key=lambda pair: pair[1].weight if pair[1] else float("inf"), reverse=True)
    row_px = tile_px + _CAPTION_PX
    sheet = Image.new("RGB", (len(_COLUMNS) * tile_px, _CAPTION_PX + len(looks) * row_px))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for place, title in enumerate(_COLUMNS):
        draw.text((place * tile_px + 3, 1), title, fill=_BOX_COLOUR, font=font)
    for number, (row, look) in enumerate(looks):
        top = _CAPTION_PX + number * row_px
        caption = [
            str(row[name]) for name in ("key", "sweep", "device", "site") if pd.notna(row[name])
        ]
        found = "cannot be decoded" if look is None else f"still places: {len(look.suspects)}"
        draw.text((3, top + 1), " | ".join([*caption, found]), fill=_TEXT_COLOUR, font=font)
        for place, tile in enumerate(_tiles(look, tile_px) if look else []):
            sheet.paste(tile, (place * tile_px, top + _CAPTION_PX))
    sheet.save(picture)
    return [(str(row["key"]), len(look.suspects) if look else 0) for row, look in looks]


def _look(shards_dir: Path, row: pd.Series) -> Stillness | None:
    try:
        record, data = read_member(shards_dir, row)
        return stillness(decode_frames(data, record, list(range(record["frames"]))))
    except CorruptClip:
        return None


def _tiles(look: Stillness, tile_px: int) -> list[Image.Image]:
    scale = tile_px / look.middle.shape[0]
    tiles = [_tile(pixels, tile_px) for pixels in (look.middle, look.brightest, look.residue)]
    for tile in tiles:
        draw = ImageDraw.Draw(tile)
        for suspect in look.suspects[:_BOXES]:
            edges = (
                suspect.x0 - _MARGIN_PX,
                suspect.y0 - _MARGIN_PX,
                suspect.x1 + _MARGIN_PX,
                suspect.y1 + _MARGIN_PX,
            )
            draw.rectangle([edge * scale for edge in edges], outline=_BOX_COLOUR)
    return [
        *tiles,
        _tile(_around(look.mean, look.suspects[0]) if look.suspects else look.mean, tile_px),
    ]


def _tile(pixels: NDArray[np.uint8], tile_px: int) -> Image.Image:
    return (
        Image.fromarray(pixels).resize((tile_px, tile_px), Image.Resampling.BILINEAR).convert("RGB")
    )


def _around(pixels: NDArray[np.uint8], suspect: Suspect) -> NDArray[np.uint8]:
    """The square around a box, as far as the picture goes."""
    height, width = pixels.shape
    side = min(
        height,
        width,
        max(suspect.y1 - suspect.y0, suspect.x1 - suspect.x0) + 2 * _ENLARGED_MARGIN_PX,
    )
    y0 = min(max(0, (suspect.y0 + suspect.y1 - side) // 2), height - side)
    x0 = min(max(0, (suspect.x0 + suspect.x1 - side) // 2), width - side)
    return pixels[y0 : y0 + side, x0 : x0 + side]
