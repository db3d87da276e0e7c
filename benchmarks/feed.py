"""Clips per second of this feed and of what groups use today, at equal output, in one run.

Every way gives the same clips: 16 of 48 frames of 128 px, turned by an angle of the clip's own, at
112 px, normalised, in batches of 32 in a shuffled order, on CPU. Ways take turns, each measurement
in processes of its own with as many workers as there are cores; the pages are in the file cache.
What they give is compared before it is timed.

    .venv/bin/pip install torchcodec                                   # for its row
    .venv/bin/python benchmarks/feed.py                                # the table, in about ten
    minutes
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bsou_dist.feed.augment import DEVIATION, MEAN, AugmentConfig, choose_frames, draw_parameters
from bsou_dist.feed.dataset import ClipSet
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.pixels import FeedConfig, Pixels
from bsou_dist.feed.quarantine import Quarantine
from bsou_dist.packing.pack import PackConfig
from bsou_dist.phantom import PhantomConfig, phantom_clips
from bsou_dist.shards.codec import encode_frames
from bsou_dist.shards.manifest import FORMAT_VERSION, manifest_of, read_manifest, write_manifest
from bsou_dist.shards.shard_file import ShardWriter

FRAMES, SIZE_PX, SOURCE_FRAMES, SOURCE_PX, BATCH = 16, 112, 48, 128, 32
QUALITY = PackConfig().jpeg_quality
TURNED = AugmentConfig(
    frame_jitter=False,
    rotation_probability=1.0,
    brightness_probability=0,
    blur_probability=0,
    speckle_probability=0,
    patch_probability=0,
)
WORKERS = len(os.sched_getaffinity(0))
CHOSEN = choose_frames(SOURCE_FRAMES, FRAMES)
"""The middle frame of each share, for every way."""


# ---- the same clips, as each way keeps them


def write_corpus(folder: Path, clips: int, patients: int) -> dict[str, float]:
    """Speckle clips of generated patients, in turn until there are so many; bytes per clip of each
    form.
    """
    rendered = [
        clip.frames
        for clip in phantom_clips(
            PhantomConfig(patients=patients, frames=SOURCE_FRAMES, size_px=SOURCE_PX, seed=3)
        )
    ]
    for name in ("shards", "pt", "mjpeg", "webdataset"):
        (folder / name).mkdir(parents=True)
    encoded = [encode_frames(frames, "jpeg", jpeg_quality=QUALITY, crf=18) for frames in rendered]
    videos = [_mjpeg_video(data) for data, _ in encoded]
    rows = []
    for shard, numbers in enumerate(np.array_split(np.arange(clips), max(1, clips // 128))):
        with ShardWriter(folder / "shards", f"{shard:06d}") as writer:
            for number in numbers.tolist():
                data, offsets = encoded[number % len(encoded)]
                record = {
                    "key": _key(number),
                    "sweep": "M",
                    "codec": "jpeg",
                    "frames": SOURCE_FRAMES,
                    "height": SOURCE_PX,
                    "width": SOURCE_PX,
                    "mm_per_px": 1.5,
                }
                place = writer.add({**record, "frame_offsets": offsets}, data)
                rows.append(
                    {
                        **record,
                        **place,
                        "study": f"s{number // 6}",
                        "exam": f"e{number // 6}",
                        "patient": f"p{number // 6}",
                        "sha256": hashlib.sha256(data).hexdigest(),
                    }
                )
                (folder / "mjpeg" / f"{_key(number)}.mp4").write_bytes(videos[number % len(videos)])
                frames = torch.from_numpy(rendered[number % len(rendered)])[:, None]
                torch.save(frames, folder / "pt" / f"{_key(number)}.pt")
            writer.commit()
    write_manifest(manifest_of(rows), folder / "shards")
    (folder / "shards" / "shards.json").write_text(json.dumps({"format_version": FORMAT_VERSION}))
    _write_webdataset(folder, clips)
    return {
        "shards": statistics.mean(row["size"] for row in rows),
        "mjpeg": statistics.mean(map(len, videos)),
        "pt": statistics.mean(path.stat().st_size for path in (folder / "pt").iterdir()),
    }


def _key(number: int) -> str:
    return f"clip{number}-M-0"


def _mjpeg_video(data: bytes) -> bytes:
    """The same JPEG pictures in an MP4, which seeks; nothing is encoded again."""
    buffer = io.BytesIO()
    with (
        av.open(io.BytesIO(data), format="mjpeg") as pictures,
        av.open(buffer, "w", format="mp4") as container,
    ):
        stream = container.add_stream_from_template(pictures.streams.video[0])
        for number, packet in enumerate(
            packet for packet in pictures.demux(video=0) if packet.size
        ):
            packet.stream, packet.pts, packet.dts, packet.duration = stream, number, number, 1
            packet.time_base, packet.is_keyframe = Fraction(1, 30), True
            container.mux(packet)
    return buffer.getvalue()


def _write_webdataset(folder: Path, clips: int) -> None:
    """The same videos in tar shards, in an order that is shuffled already, as webdataset wants
    them.
    """
    import webdataset

    order = np.random.default_rng(0).permutation(clips)
    for shard, numbers in enumerate(np.array_split(order, max(WORKERS, clips // 128))):
        with webdataset.TarWriter(str(folder / "webdataset" / f"{shard:06d}.tar")) as writer:
            for number in numbers.tolist():
                key = _key(number)
                writer.write(
                    {"__key__": key, "mp4": (folder / "mjpeg" / f"{key}.mp4").read_bytes()}
                )


# ---- the ways, each an epoch of (keys, float32 (32, 1, 16, 112, 112))

Batches = Iterator[tuple[list[str], Tensor]]


def ours(folder: Path, decoder: str, augment: AugmentConfig) -> Callable[[int], Batches]:
    """This feed."""
    clips = ClipSet(folder / "shards", read_manifest(folder / "shards"), {})
    pixels = Pixels(
        clips,
        FeedConfig(decoder=decoder, threads=WORKERS),
        augment=augment,
        seed=0,  # type: ignore[arg-type]
        quarantine=Quarantine(folder, 0),
    )
    loader = Loader(clips, pixels, global_batch=BATCH, seed=0, training=True)
    return lambda epoch: ((batch.key, batch.clips) for batch in loader.epoch(epoch))


def finished(frames: Tensor, key: str, epoch: int) -> Tensor:
    """What every other way does to uint8 (16, 128, 128), with torch's own functions: turn, resize,
    normalise.
    """
    angle = np.deg2rad(draw_parameters(TURNED, 0, epoch, key, 0).rotation_degrees)
    turn = torch.tensor(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]], dtype=torch.float32
    )
    grid = F.affine_grid(turn[None], [1, FRAMES, SIZE_PX, SIZE_PX], align_corners=False)
    turned = F.grid_sample(frames[None].float(), grid, align_corners=False)
    return (turned / 255 - MEAN) / DEVIATION


class Files(torch.utils.data.Dataset):
    """One file per clip."""

    def __init__(self, folder: Path, form: str) -> None:
        self.paths, self.form, self.epoch = sorted((folder / form).iterdir()), form, 0

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[str, Tensor]:
        path = self.paths[number]
        if self.form == "pt":  # the way of OBUS-GHL
            frames = torch.load(path)[CHOSEN, 0]
        else:
            from torchcodec.decoders import VideoDecoder

            frames = (
                VideoDecoder(path, num_ffmpeg_threads=1, seek_mode="approximate")
                .get_frames_at(CHOSEN.tolist())
                .data[:, 0]
            )
        return path.stem, finished(frames, path.stem, self.epoch)


def of_files(folder: Path, form: str) -> Callable[[int], Batches]:
    """A torch DataLoader over one file per clip, with workers that stay."""
    dataset = Files(folder, form)
    loader = torch.utils.data.DataLoader(
        dataset,
        BATCH,
        shuffle=True,
        num_workers=WORKERS,
        drop_last=True,
        persistent_workers=True,
        prefetch_factor=2,
    )
    return lambda epoch: ((list(keys), clips) for keys, clips in loader)


def of_webdataset(folder: Path) -> Callable[[int], Batches]:
    """webdataset reads tar shards in turn, PyAV decodes what it must of a video."""
    import webdataset

    def decode(sample: dict[str, Any]) -> tuple[str, Tensor]:
        wanted, frames = set(CHOSEN.tolist()), []
        with av.open(io.BytesIO(sample["mp4"])) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for number, packet in enumerate(
                container.demux(video=0)
            ):  # every picture stands alone: skip the others
                if number in wanted:
                    frames += [frame.to_ndarray(format="gray") for frame in packet.decode()]
        return sample["__key__"], finished(torch.from_numpy(np.stack(frames)), sample["__key__"], 0)

    urls = [str(path) for path in sorted((folder / "webdataset").iterdir())]
    samples = (
        webdataset.WebDataset(urls, shardshuffle=len(urls), seed=0, empty_check=False)
        .shuffle(64)
        .map(decode)
    )
    loader = webdataset.WebLoader(
        samples.batched(BATCH, partial=False),
        batch_size=None,
        num_workers=WORKERS,
        persistent_workers=True,
        prefetch_factor=2,
    )
    return lambda epoch: ((list(keys), clips) for keys, clips in loader)


WAYS: dict[str, Callable[[Path], Callable[[int], Batches]]] = {
    "bsou-dist (DALI)": lambda folder: ours(folder, "dali", TURNED),
    "bsou-dist (Pillow)": lambda folder: ours(folder, "reference", TURNED),
    "bsou-dist (DALI), all augmentations": lambda folder: ours(folder, "dali", AugmentConfig()),
    "torchcodec, MJPEG": lambda folder: of_files(folder, "mjpeg"),
    "webdataset and PyAV, MJPEG": of_webdataset,
    "one .pt file per clip": lambda folder: of_files(folder, "pt"),
}
OURS, COMPRESSED, RAW = (
    "bsou-dist (DALI)",
    ("torchcodec, MJPEG", "webdataset and PyAV, MJPEG"),
    "one .pt file per clip",
)
NOT_COMPARED = "bsou-dist (DALI), all augmentations"


def measure(folder: Path, way: str, epochs: int) -> dict[str, float]:
    """Clips per second, by the clock and by processor time of all processes, after an epoch to warm
    up.
    """
    feed = WAYS[way](folder)
    clips = sum(len(keys) for keys, _ in feed(0))
    rates, busy = [], _processor_s()
    for epoch in range(1, epochs + 1):
        began = time.perf_counter()
        clips = sum(len(keys) for keys, _ in feed(epoch))
        rates.append(clips / (time.perf_counter() - began))
    return {
        "clips_per_s": statistics.median(rates),
        "processor_ms_per_clip": (_processor_s() - busy) * 1e3 / (clips * epochs),
    }


def _processor_s() -> float:
    """Of this process and of its workers, which are alive still and so not in the system's sum of
    children.
    """
    ticks = 0
    for child in Path("/proc/self/task").glob("*/children"):
        for number in child.read_text().split():
            fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def compare(folder: Path) -> dict[str, float]:
    """Largest mean difference of a clip from this feed's, in grey levels."""
    reference: dict[str, Tensor] = {}
    for keys, clips in WAYS["bsou-dist (Pillow)"](folder)(0):
        reference |= dict(zip(keys, clips, strict=True))
    differs = {}
    for way in WAYS.keys() - {NOT_COMPARED, "bsou-dist (Pillow)"}:
        found = {
            key: clip
            for keys, clips in WAYS[way](folder)(0)
            for key, clip in zip(keys, clips, strict=True)
        }
        both = reference.keys() & found.keys()
        assert len(both) > len(reference) / 2, way
        differs[way] = max(
            (found[key].reshape(-1) - reference[key].reshape(-1)).abs().mean().item()
            for key in both
        )
    return {way: round(value * DEVIATION * 255, 3) for way, value in sorted(differs.items())}


def table(options: argparse.Namespace) -> dict[str, Any]:
    """All ways in turn."""
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name) / "corpus"
        bytes_per_clip = write_corpus(folder, options.clips, options.patients)
        differs = compare(folder)
        print(
            "grey levels from the plain decoder's, mean of the worst clip:",
            json.dumps(differs),
            flush=True,
        )
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for turn in range(options.rounds):
            for way in WAYS:
                done = subprocess.run(
                    [sys.executable, __file__, "--measure", str(folder), way, str(options.epochs)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
                print(turn, way, json.dumps(found[way][-1]), flush=True)
    rates = {way: [one["clips_per_s"] for one in each] for way, each in found.items()}
    best = [max(rates[way][turn] for way in COMPRESSED) for turn in range(options.rounds)]
    ratios = [rates[OURS][turn] / best[turn] for turn in range(options.rounds)]
    against_raw = [rates[OURS][turn] / rates[RAW][turn] for turn in range(options.rounds)]
    return {
        "clips": options.clips,
        "workers": WORKERS,
        "processor": platform.processor() or platform.machine(),
        "ways": {
            way: {
                "clips_per_s": round(statistics.median(rates[way])),
                "of_each_round": [round(rate) for rate in rates[way]],
                "processor_ms_per_clip": round(
                    statistics.median(one["processor_ms_per_clip"] for one in found[way]), 2
                ),
            }
            for way in WAYS
        },
        "over_the_best_that_reads_compressed_clips": [round(value, 2) for value in sorted(ratios)],
        "over_pt_files": [round(value, 2) for value in sorted(against_raw)],
        "bytes_per_clip": {form: round(size) for form, size in bytes_per_clip.items()},
        "bytes_over_pt": round(bytes_per_clip["shards"] / bytes_per_clip["pt"], 3),
        "grey_levels_from_the_plain_decoder": differs,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--measure", nargs=3, metavar=("FOLDER", "WAY", "EPOCHS"), help=argparse.SUPPRESS
    )
    parser.add_argument("--clips", type=int, default=1024)
    parser.add_argument("--patients", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="where temporary files go (3 GB for 1,024 clips)"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/feed.json")
    options = parser.parse_args()
    if options.measure:
        folder, way, epochs = options.measure
        print(json.dumps(measure(Path(folder), way, int(epochs))))
        return
    result = table(options)
    print(json.dumps(result, indent=2))
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
