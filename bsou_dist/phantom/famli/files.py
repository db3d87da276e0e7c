"""One recording as the file that its scanner would have left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bsou_dist.phantom import PhantomConfig, render_sweep
from bsou_dist.phantom.famli.recordings import Recording
from bsou_dist.phantom.files.cohort_files import write_mp4
from bsou_dist.phantom.files.dicom import Box, Encoding, write_dicom
from bsou_dist.phantom.files.screen import Point, on_screen
from bsou_dist.phantom.still_view import STILL_VIEWS, render_still_view

_ENCODINGS: dict[str, Encoding] = {
    "GE": "YBR_FULL_422",
    "Butterfly": "YBR_FULL_422",
    "Sonosite": "RGB",
    "EchoNous": "RGB",
    "Clarius": "MONOCHROME2",
}


@dataclass(frozen=True)
class WrittenFile:
    """Size of a picture (pixels) and of its file, as tables give it; 0 if the file isn't there."""

    rows: int = 0
    columns: int = 0
    bytes: int = 0


def write_recording(recording: Recording, config: PhantomConfig, out: Path) -> WrittenFile:
    """Render a recording and write it to its path under `out`, unless it is one of the lost."""
    if recording.lost:
        return WrittenFile()
    picture, calipers = _picture(recording, config)
    acquisition = recording.acquisition
    screen = on_screen(
        picture,
        f"{acquisition.name} {recording.visit.day}",
        recording.printed,
        look=recording.look,
        calipers=calipers,
    )
    mean_duration_s = sum(config.duration_s) / 2.0
    frame_rate_hz = recording.frames / mean_duration_s
    path = out / recording.path
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = screen.frames
    if recording.ending == ".png":
        Image.fromarray(frames[0]).save(path)
    elif recording.ending == ".mp4":
        write_mp4(path, frames, frame_rate_hz)
    else:
        encoding = _ENCODINGS[recording.scan.device.maker]
        x1 = screen.x0 + config.size_px
        y1 = screen.y0 + config.size_px
        box = Box(screen.x0, screen.y0, x1, y1, config.mm_per_px)
        write_dicom(
            path,
            _grey(frames) if encoding == "MONOCHROME2" else frames,
            acquisition,
            instance=acquisition.instance_uid(recording.name),
            encoding=encoding,
            frame_rate_hz=frame_rate_hz,
            region=box if recording.region else None,
        )
    return WrittenFile(frames.shape[1], frames.shape[2], path.stat().st_size)


def _picture(
    recording: Recording, config: PhantomConfig
) -> tuple[NDArray[np.uint8], tuple[Point, Point] | None]:
    """The grey clip (F, S, S), and where calipers stand, if any do."""
    config = config.model_copy(update={"frames": recording.frames})
    exam = recording.scan.exam
    view = recording.view
    if view in STILL_VIEWS:
        still = render_still_view(exam, view, config)
        calipers = still.calipers if recording.clip_class == "biometric" else None
        return still.frames, calipers
    return render_sweep(exam, view, config, recording.repeat), None


def _grey(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return frames.mean(axis=3).round().astype(np.uint8)
