"""A phantom cohort as the files that a clinic would hand over: one per clip, and a table.

Headers carry made-up names, numbers and birth dates, and pictures may carry print, so that what
must not reach a shard is there to be found.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import av
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bsou_dist.phantom.files.dicom import Acquisition, Box, write_dicom

FileFormat = Literal["dicom", "mp4", "npz"]

_SUFFIXES: dict[FileFormat, str] = {"dicom": ".dcm", "mp4": ".mp4", "npz": ".npz"}
_NOMINAL_CRF = 10
_PRINT_STRIP_PX = 14  # above the picture


class Clip(Protocol):
    """A clip with its `row` of the cohort table (all columns but `path`); `frames` (F, H, W)."""

    @property
    def row(self) -> dict[str, Any]: ...
    @property
    def frames(self) -> NDArray[np.uint8]: ...
    @property
    def mm_per_px(self) -> float: ...
    @property
    def frame_rate_hz(self) -> float: ...


def write_phantom(
    clips: Iterable[Clip], out: Path, *, file_format: FileFormat = "dicom", print_text: bool = False
) -> Path:
    """Write one file per clip, and `cohort.csv` beside them.

    Args:
        clips: consumed one at a time.
        out: folder, made if need be; files go to `clips/` in it.
        file_format: DICOM states its spacing itself; for 'mp4' it is in the table; 'npz' keeps the
            pixels alone.
        print_text: burn the patient's made-up name and the sweep into a strip above the picture.

    Returns:
        The path of the table.
    """
    folder = out / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, clip in enumerate(clips):
        path = folder / f"{number:06d}{_SUFFIXES[file_format]}"
        frames = clip.frames
        if print_text:
            frames = _printed(frames, _acquisition(clip).name, clip.row.get("sweep"))
        row = {**clip.row, "path": path.relative_to(out).as_posix()}
        if file_format == "dicom":
            _write_dicom(path, frames, clip)
        elif file_format == "mp4":
            write_mp4(path, frames, clip.frame_rate_hz)
            row["mm_per_px"] = clip.mm_per_px
        else:
            np.savez_compressed(path, frames=frames, mm_per_px=clip.mm_per_px)
        rows.append(row)
    table = out / "cohort.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


def _acquisition(clip: Clip) -> Acquisition:
    maker, _, model = str(clip.row.get("device") or "").partition(" ")
    return Acquisition(str(clip.row["patient_id"]), str(clip.row["study_id"]), maker, model)


def _printed(frames: NDArray[np.uint8], name: str, sweep: Any) -> NDArray[np.uint8]:
    count, _, width = frames.shape
    strip = Image.new("L", (width, _PRINT_STRIP_PX))
    text = f"{sweep} {name}" if isinstance(sweep, str) else name
    ImageDraw.Draw(strip).text((1, 1), text, fill=230, font=ImageFont.load_default(size=10))
    strips = np.broadcast_to(np.asarray(strip), (count, _PRINT_STRIP_PX, width))
    return np.concatenate([strips, frames], axis=1)


def _write_dicom(path: Path, frames: NDArray[np.uint8], clip: Clip) -> None:
    acquisition = _acquisition(clip)
    _, height, width = frames.shape
    # the region takes in any print too, so that cropping alone does not remove it
    region = Box(0, 0, width, height, clip.mm_per_px)
    write_dicom(
        path,
        frames,
        acquisition,
        instance=acquisition.instance_uid(path.name),
        encoding="MONOCHROME2",
        frame_rate_hz=clip.frame_rate_hz,
        region=region,
    )


def write_mp4(path: Path, frames: NDArray[np.uint8], frame_rate_hz: float) -> None:
    """Write frames (F, H, W) or RGB (F, H, W, 3) as H.264.

    Odd sizes are padded to even ones with black at the right and below.
    """
    is_rgb = frames.ndim == 4
    _, height, width = frames.shape[:3]
    padding = [(0, 0), (0, height % 2), (0, width % 2)]
    if is_rgb:
        padding.append((0, 0))
    frames = np.pad(frames, padding)
    with av.open(path, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(
            "libx264",
            rate=Fraction(frame_rate_hz).limit_denominator(1000),
            options={
                "crf": str(_NOMINAL_CRF),
                "threads": "1",
                "x264-params": "cpu-independent=1",
                "flags": "+bitexact",
            },
        )
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24" if is_rgb else "gray")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
