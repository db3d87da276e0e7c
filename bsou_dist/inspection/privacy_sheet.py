"""A picture of what is left in the clips, for a human to judge: the most suspicious first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bsou_dist.common.shown_text import shown_text
from bsou_dist.inspection.contact_sheet import read_whole_manifest, varied
from bsou_dist.inspection.still_print import Stillness, Suspect, stillness
from bsou_dist.shards.codec import CorruptClip, decode_frames
from bsou_dist.shards.manifest import read_member

_COLUMNS = (
    "middle frame",
    "the frame most unlike the rest",
    "brightest over time",
    "what never moves",
    "mean over time, around the first box",
)
_CAPTION_COLUMNS = ("key", "sweep", "device", "site")
_CAPTION_PX = 16
_BOXES = 6  # drawn of each clip
_BOX_COLOUR = (255, 80, 60)
_TEXT_COLOUR = (255, 255, 255)
_MARGIN_PX = 4  # around a box, as drawn
_ENLARGED_MARGIN_PX = 16  # and as enlarged: what stands beside a name may be its other half


def privacy_sheet(
    shards_dir: Path, picture: Path, *, clips: int = 24, tile_px: int = 224
) -> list[tuple[str, int]]:
    """Write a PNG with a row per clip of all devices, sites and sweeps, most suspicious on top.

    Args:
        shards_dir: the shard folder.
        picture: the file to write.
        clips: how many clips at most.
        tile_px: side of a tile on the sheet.

    Returns:
        Key of each clip on the sheet, from top to bottom, and how many places in it are boxed or
        would be.

    Raises:
        InputError: not a finished shard folder, or a shard of it is missing.
    """
    chosen = varied(read_whole_manifest(shards_dir), clips, ("device", "site", "sweep"))
    looks = [(row, _look(shards_dir, row)) for _, row in chosen.iterrows()]
    looks.sort(key=lambda pair: _suspicion(pair[1]), reverse=True)
    row_px = tile_px + _CAPTION_PX
    sheet = Image.new("RGB", (len(_COLUMNS) * tile_px, _CAPTION_PX + len(looks) * row_px))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    for column, title in enumerate(_COLUMNS):
        draw.text((column * tile_px + 3, 1), title, fill=_BOX_COLOUR, font=font)
    for number, (row, look) in enumerate(looks):
        top = _CAPTION_PX + number * row_px
        draw.text((3, top + 1), _caption(row, look), fill=_TEXT_COLOUR, font=font)
        tiles = [] if look is None else _tiles(look, tile_px)
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (column * tile_px, top + _CAPTION_PX))
    sheet.save(picture)
    return [(str(row["key"]), 0 if look is None else len(look.suspects)) for row, look in looks]


def _look(shards_dir: Path, row: pd.Series) -> Stillness | None:
    """What is still in a clip, or None if it cannot be decoded."""
    try:
        record, data = read_member(shards_dir, row)
        every_frame = list(range(record["frames"]))
        return stillness(decode_frames(data, record, every_frame))
    except (CorruptClip, OSError):
        return None


def _suspicion(look: Stillness | None) -> float:
    return float("inf") if look is None else look.weight


def _caption(row: pd.Series, look: Stillness | None) -> str:
    words = [shown_text(row[name], 40) for name in _CAPTION_COLUMNS if pd.notna(row[name])]
    if look is None:
        return " | ".join([*words, "cannot be decoded"])
    if look.odd_frames:
        words.append(f"frames of another screen: {look.odd_frames}")
    return " | ".join([*words, f"still places: {len(look.suspects)}"])


def _tiles(look: Stillness, tile_px: int) -> list[Image.Image]:
    """The tiles of a row, in the order of `_COLUMNS`."""
    scale = tile_px / look.middle.shape[0]
    pictures = (look.middle, look.unlike, look.brightest, look.residue)
    tiles = [_tile(picture, tile_px) for picture in pictures]
    for tile in tiles:
        draw = ImageDraw.Draw(tile)
        for suspect in look.suspects[:_BOXES]:
            left = (suspect.x0 - _MARGIN_PX) * scale
            top = (suspect.y0 - _MARGIN_PX) * scale
            right = (suspect.x1 + _MARGIN_PX) * scale
            bottom = (suspect.y1 + _MARGIN_PX) * scale
            draw.rectangle([left, top, right, bottom], outline=_BOX_COLOUR)
    enlarged = _around(look.mean, look.suspects[0]) if look.suspects else look.mean
    return [*tiles, _tile(enlarged, tile_px)]


def _tile(pixels: NDArray[np.uint8], tile_px: int) -> Image.Image:
    grey = Image.fromarray(pixels).resize((tile_px, tile_px), Image.Resampling.BILINEAR)
    return grey.convert("RGB")


def _around(pixels: NDArray[np.uint8], suspect: Suspect) -> NDArray[np.uint8]:
    """The square around a box, as far as the picture goes."""
    height, width = pixels.shape
    longer_side = max(suspect.y1 - suspect.y0, suspect.x1 - suspect.x0)
    side = min(height, width, longer_side + 2 * _ENLARGED_MARGIN_PX)
    y0 = min(max(0, (suspect.y0 + suspect.y1 - side) // 2), height - side)
    x0 = min(max(0, (suspect.x0 + suspect.x1 - side) // 2), width - side)
    return pixels[y0 : y0 + side, x0 : x0 + side]
