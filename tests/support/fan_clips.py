"""Small made-up sweeps: speckle that moves under a curved probe, with the truth about where the fan
is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

MM_PER_PX = 1.2


@dataclass(frozen=True)
class FanClip:
    row: dict[str, Any]
    frames: np.ndarray
    mm_per_px: float = MM_PER_PX
    frame_rate_hz: float = 20.0


def fan_truth(height: int = 96, width: int = 112) -> np.ndarray:
    """A sector with a hollow top, as under a curved probe; dark margins on all sides."""
    y, x = np.mgrid[:height, :width]
    across, down = x - width / 2, y + 0.15 * height
    radius, angle = np.hypot(across, down), np.arctan2(across, down)
    return (radius > 0.3 * height) & (radius < 1.08 * height) & (np.abs(angle) < 0.55)


def fan_frames(number: int = 0, count: int = 12, height: int = 96, width: int = 112) -> np.ndarray:
    """uint8 (count, height, width), another sweep for every number; 0 outside the fan."""
    random = np.random.default_rng(number)
    echoes = gaussian_filter(random.rayleigh(1.0, (count, height, width)), (0.6, 0.8, 1.2))
    depth = np.linspace(1.0, 0.6, height)[:, None]
    return (np.clip(110 * (echoes - 0.3) * depth, 4, 255) * fan_truth(height, width)).astype(
        np.uint8
    )


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "patient_id": f"MUSTERFRAU-{number // 6:04d}",
        "study_id": f"VISIT-{number // 3:04d}",
        "exam_id": f"EXAM-{number // 3:04d}",
        "sweep": ("M", "L", None)[number % 3],
        "clip_class": "blind",
        "device": ("Acme One", "Bolt Mini")[number % 2],
        "operator": "expert",
        "site": "north",
        "bmi": 24.5,
        "ga_days": 140.0 + number,
        "presentation": ("cephalic", "non_cephalic")[number // 3 % 2],
        **changes,
    }


def fan_clips(count: int, first: int = 0) -> list[FanClip]:
    return [FanClip(row(number), fan_frames(number)) for number in range(first, first + count)]


def printed(frames: np.ndarray, text: str, x: int, y: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames with text burned in, and the mask of its pixels."""
    picture = Image.new("L", frames.shape[:0:-1])
    ImageDraw.Draw(picture).text((x, y), text, fill=230, font=ImageFont.load_default(size=9))
    ink = np.asarray(picture)
    return np.maximum(frames, ink), ink > 40


def printed_over(frames: np.ndarray, text: str, opacity: float = 1.0) -> np.ndarray:
    """Frames of 200 by 240 pixels or more with text over the middle of their tissue."""
    picture = Image.new("L", frames.shape[:0:-1])
    ImageDraw.Draw(picture).text((90, 100), text, fill=255, font=ImageFont.load_default(size=11))
    ink = np.asarray(picture) / 255 * opacity
    return (frames * (1 - ink) + 230 * ink).astype(np.uint8)


def write_video(path: Path, frames: np.ndarray, codec: str = "libx264", **options: str) -> None:
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream(
            codec, rate=20, options={"crf": "8"} if codec == "libx264" else {"qscale": "2"}
        )
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "yuvj420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode(None))


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def read_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)
