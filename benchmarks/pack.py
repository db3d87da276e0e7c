"""How fast clips are packed, against decoding and encoding alone, and what each codec costs.

Three sources, written by the phantom as scanners write them: a console's cine (DICOM, JPEG, 735x975
pixels, a fan with print around it), a handheld's H.264 video of about the same size, and
uncompressed grey DICOM. 'Alone' is the bare decoder (Pillow, PyAV, numpy) making arrays of the
frames wanted, and the encoder on prepared frames; beside it the same with each frame resized by
Pillow to the prepared size, which whoever packs must do. All take turns in one process; CPU time,
median over the rounds. Then every codec on the prepared clips; PSNR is that of the fan.

    .venv/bin/python benchmarks/pack.py

Phantom results test software and controlled failure modes; they support no clinical finding.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one process is one core

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import generate_frames

from bsou_dist.cohort.table import Cohort
from bsou_dist.feed.augment import choose_frames
from bsou_dist.packing.encode_clip import PackConfig
from bsou_dist.packing.pack import Packer
from bsou_dist.phantom import PHANTOM_NOTE, PhantomClip, PhantomConfig, exam_clips, phantom_patient
from bsou_dist.phantom.files.dicom import Acquisition, Box, write_dicom
from bsou_dist.phantom.files.screen import on_screen
from bsou_dist.prepare.prepare_clip import prepare
from bsou_dist.shards.codec import decode_frames, encode_frames
from bsou_dist.sources.raw_clip import even_indices
from bsou_dist.sources.read_clip import read_clip

CONFIG = PackConfig()
WANTED_FRAMES = 16
SCREEN = (735, 975)  # height and width of the console's screen
VIDEO_CRF = 20
PACKED_CLIPS = 12  # of each source and round, so that what is done once per folder hardly counts
STAGES = ("read_ms", "prepare_ms", "encode_ms")
Frames = NDArray[np.uint8]
Encoder = Callable[[Frames], tuple[bytes, list[int] | None]]


def phantom_sweeps(count: int, frames: int, size_px: int) -> list[PhantomClip]:
    """The first sweeps of one patient, drawn finer than they will be packed."""
    config = PhantomConfig(seed=1, frames=frames, size_px=size_px)
    return list(islice(exam_clips(phantom_patient(config, 0).exams[0], config), count))


def write_sources(clips: list[PhantomClip], folder: Path) -> dict[str, list[Path]]:
    """Files of each source."""
    paths: dict[str, list[Path]] = {"console": [], "handheld": [], "uncompressed": []}
    for number, clip in enumerate(clips):
        of_clip = {name: folder / f"{name}{number}" for name in paths}
        acquisition = Acquisition(
            clip.row["patient_id"], clip.row["study_id"], "Phantom", "Console"
        )
        screen = on_screen(clip.frames, "MUSTERFRAU MARIA", [clip.row["sweep"], "Gn 10"])
        size = clip.frames.shape[1]
        height, width = (
            max(0, whole - have)
            for whole, have in zip(SCREEN, screen.frames.shape[1:3], strict=True)
        )
        frames = np.pad(screen.frames, ((0, 0), (0, height), (0, width), (0, 0)))
        write_dicom(
            of_clip["console"],
            frames,
            acquisition,
            instance=acquisition.instance_uid("1"),
            encoding="YBR_FULL_422",
            frame_rate_hz=clip.frame_rate_hz,
            region=Box(screen.x0 // 2, 0, frames.shape[2], screen.y0 + size, clip.mm_per_px),
        )
        write_video(of_clip["handheld"], screen.frames)
        write_dicom(
            of_clip["uncompressed"],
            clip.frames,
            acquisition,
            instance=acquisition.instance_uid("2"),
            encoding="MONOCHROME2",
            frame_rate_hz=clip.frame_rate_hz,
            region=Box(0, 0, size, size, clip.mm_per_px),
        )
        for name, path in of_clip.items():
            paths[name].append(path)
    return paths


def write_video(path: Path, frames: Frames) -> None:
    """H.264 in MP4, 4:2:0, as handheld probes export."""
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=20, options={"crf": str(VIDEO_CRF), "threads": "1"}
        )
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def decode_alone(source: str, path: Path) -> None:
    """The frames wanted as arrays, one at a time, by the bare decoder."""
    if source == "handheld":
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            wanted = set(even_indices(stream.frames, CONFIG.prepare.max_frames))
            for index, frame in enumerate(container.decode(stream)):
                if index in wanted:
                    frame.to_ndarray(format="rgb24")
        return
    dataset = pydicom.dcmread(path, stop_before_pixels=source == "uncompressed")
    count = int(dataset.NumberOfFrames)
    wanted = even_indices(count, CONFIG.prepare.max_frames)
    if source == "uncompressed":  # the pixels end the file
        pixels = count * dataset.Rows * dataset.Columns
        np.memmap(
            path,
            np.uint8,
            "r",
            path.stat().st_size - pixels,
            (count, dataset.Rows, dataset.Columns),
        )[wanted]
        return
    for index, data in enumerate(generate_frames(dataset.PixelData, number_of_frames=count)):
        if index in wanted:
            np.asarray(Image.open(io.BytesIO(data)))


def resize_alone(frames: Frames, size_px: int) -> None:
    """Grey frames shrunk by Pillow, no fan looked for."""
    for frame in frames:
        np.asarray(
            Image.fromarray(frame)
            .convert("L")
            .resize((size_px, size_px), Image.Resampling.BILINEAR)
        )


def cpu_ms(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return 1e3 * (time.process_time() - began)


def measure_source(
    source: str, paths: list[Path], mm_per_px: float, rounds: int
) -> dict[str, float]:
    """CPU time per clip (ms) of packing, of its stages, and of decoding and encoding alone."""
    taken: list[dict[str, float]] = []
    prepared: Frames
    for number in range(rounds + 1):
        path = paths[number % len(paths)]
        row = {"decode_alone_ms": cpu_ms(lambda path=path: decode_alone(source, path))}
        began = time.process_time()
        raw = read_clip(path, CONFIG.prepare.max_frames, CONFIG.prepare.mm_per_px)
        read = time.process_time()
        prepared = prepare(raw, CONFIG.prepare, mm_per_px).frames
        row |= {"read_ms": 1e3 * (read - began), "prepare_ms": 1e3 * (time.process_time() - read)}
        row["resize_alone_ms"] = cpu_ms(
            lambda raw=raw: resize_alone(raw.frames, CONFIG.prepare.size_px)
        )
        row["encode_ms"] = cpu_ms(
            lambda frames=prepared: encode_frames(
                frames, CONFIG.codec, jpeg_quality=CONFIG.jpeg_quality, crf=CONFIG.crf
            )
        )
        row["pack_ms"] = packing_ms(paths, mm_per_px)
        taken.append(row)
    result = {
        key: statistics.median(row[key] for row in taken[1:]) for key in taken[0]
    }  # the first warms up
    result["hashing_and_writing_ms"] = result["pack_ms"] - sum(result[key] for key in STAGES)
    alone_ms = result["decode_alone_ms"] + result["encode_ms"]
    result |= {
        "clips_per_s": 1e3 / result["pack_ms"],
        "clips_per_s_alone": 1e3 / alone_ms,
        "pack_over_alone": alone_ms / result["pack_ms"],
        "pack_over_alone_with_resize": (alone_ms + result["resize_alone_ms"]) / result["pack_ms"],
        "source_kb": statistics.mean(path.stat().st_size for path in paths) / 1e3,
    }
    return {key: round(value, 3) for key, value in result.items()}


def packing_ms(paths: list[Path], mm_per_px: float) -> float:
    """CPU time per clip of `bsou pack` itself, on a cohort that holds the same few files under
    several names.
    """
    with tempfile.TemporaryDirectory(dir=paths[0].parent) as name:
        root = Path(name)
        rows = []
        for number in range(PACKED_CLIPS):
            path = paths[number % len(paths)]
            os.link(path, root / str(number))
            rows.append(
                {
                    "patient_id": "p",
                    "study_id": "s",
                    "exam_id": "e",
                    "path": str(number),
                    "sweep": "M",
                    "mm_per_px": mm_per_px,
                }
            )
        packer = Packer(
            root / "shards", private=root / "private", config=CONFIG, workers=0, progress=False
        )
        cohort = Cohort(pd.DataFrame(rows), root)
        return cpu_ms(lambda: packer.run(cohort)) / len(rows)


def encode_video(frames: Frames, codec: str, pix_fmt: str, options: dict[str, str]) -> bytes:
    """One grey video in Matroska; codecs that shards do not use, for comparison."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = pix_fmt
        for frame in frames:
            container.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(frame, format="gray").reformat(format=pix_fmt)
                )
            )
        container.mux(stream.encode(None))
    return buffer.getvalue()


def decode_video(data: bytes, indices: NDArray[np.int64]) -> Frames:
    """The frames wanted of such a video, decoding no further than needed."""
    with av.open(io.BytesIO(data)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        pictures = {}
        for index, frame in enumerate(container.decode(video=0)):
            if index in indices:
                pictures[index] = frame.to_ndarray(format="gray")
            if index == indices.max():
                break
    return np.stack([pictures[index] for index in indices])


def encode_jpeg(frames: Frames, options: dict[str, object]) -> tuple[bytes, list[int]]:
    """What `encode_frames` does, with libjpeg's further options."""
    buffer, offsets = io.BytesIO(), [0]
    for frame in frames:
        Image.fromarray(frame).save(buffer, "JPEG", **options)
        offsets.append(buffer.tell())
    return buffer.getvalue(), offsets


def codecs() -> Iterator[tuple[str, Encoder, str]]:
    """Name, encoder, and the codec that the record names ('video' for those that shards do not
    use).
    """
    for quality in (80, 85, 90, 95):
        yield (
            f"JPEG {quality}",
            lambda frames, quality=quality: encode_frames(
                frames, "jpeg", jpeg_quality=quality, crf=18
            ),
            "jpeg",
        )
    for option in ("optimize", "progressive"):
        yield (
            f"JPEG 90 {option}",
            lambda frames, option=option: encode_jpeg(frames, {"quality": 90, option: True}),
            "jpeg",
        )
    for crf in (18, 23):
        yield (
            f"H.264 crf {crf}",
            lambda frames, crf=crf: encode_frames(frames, "h264", jpeg_quality=90, crf=crf),
            "h264",
        )
    yield (
        "VP9 crf 20",
        lambda frames: (
            encode_video(
                frames,
                "libvpx-vp9",
                "yuv420p",
                {"crf": "20", "b": "0", "cpu-used": "5", "threads": "1"},
            ),
            None,
        ),
        "video",
    )
    yield (
        "FFV1",
        lambda frames: (encode_video(frames, "ffv1", "gray", {"threads": "1"}), None),
        "video",
    )


def measure_codec(
    clips: list[Frames], encode: Encoder, codec: str, rounds: int
) -> dict[str, float | None]:
    """Size, quality and CPU time, mean over the clips of the median over the rounds."""
    rows = []
    for frames in clips:
        count, height, width = frames.shape
        data, offsets = encode(frames)
        meta = {
            "codec": codec,
            "frames": count,
            "height": height,
            "width": width,
            "frame_offsets": offsets,
        }

        def decode(indices: NDArray[np.int64], data: bytes = data, meta: dict = meta) -> Frames:
            return (
                decode_video(data, indices)
                if codec == "video"
                else decode_frames(data, meta, indices)
            )

        fan = frames.any(axis=0)
        difference = decode(np.arange(count)).astype(np.float64) - frames
        mean_square = np.square(difference[:, fan]).mean()
        some = choose_frames(count, min(WANTED_FRAMES, count))
        rows.append(
            {
                "kb": len(data) / 1e3,
                "share_of_raw": len(data) / frames.size,
                "psnr_db": 10 * np.log10(255**2 / mean_square) if mean_square else float("inf"),
                "encode_ms": statistics.median(
                    cpu_ms(lambda frames=frames: encode(frames)) for _ in range(rounds)
                ),
                f"decode_{WANTED_FRAMES}_ms": statistics.median(
                    cpu_ms(lambda decode=decode, some=some: decode(some)) for _ in range(rounds)
                ),
            }
        )
    result = {key: round(statistics.mean(row[key] for row in rows), 3) for key in rows[0]}
    return result | (
        {"psnr_db": None} if np.isinf(result["psnr_db"]) else {}
    )  # lossless; JSON has no infinity


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--quick", action="store_true", help="small clips and one round, to see that it runs"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/pack.json")
    options = parser.parse_args()
    count, rounds, frames, size_px = (
        (1, 1, 12, 320) if options.quick else (options.clips, options.rounds, 96, 640)
    )
    clips = phantom_sweeps(count, frames, size_px)
    report: dict[str, object] = {
        "note": PHANTOM_NOTE,
        "cores": os.cpu_count(),
        "clips": count,
        "rounds": rounds,
        "source_frames": frames,
        "versions": {name: version(name) for name in ("pillow", "av", "pydicom", "numpy", "scipy")},
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = write_sources(clips, Path(folder))
        sources = {}
        for source in paths:
            sources[source] = measure_source(source, paths[source], clips[0].mm_per_px, rounds)
            print(source, json.dumps(sources[source]), flush=True)
        prepared = [
            prepare(read_clip(path, CONFIG.prepare.max_frames), CONFIG.prepare).frames
            for path in paths["uncompressed"]
        ]
    of_codec = {}
    for name, encode, codec in codecs():
        of_codec[name] = measure_codec(prepared, encode, codec, rounds)
        print(name, json.dumps(of_codec[name]), flush=True)
    report |= {"sources": sources, "prepared_shape": list(prepared[0].shape), "codecs": of_codec}
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
