"""A run that is disturbed every few minutes beside one that nobody disturbs: they must stay the
same, bit for bit.

Two jobs of two ranks each train MTSCon on the same phantom clips. One of them reads from storage
that answers after 4 ms and fails for some seconds now and then, which it must outlast. At random
moments it is killed (one rank or all), stopped, frozen, or has its newest checkpoint damaged, and
is started again each time. Every checkpoint that both wrote at the end of an epoch is compared by
its checksum of weights, moments and schedule. Memory, file handles and threads of the undisturbed
job are sampled: they must not grow. After each fault nothing of the job may be left running.

    .venv/bin/python benchmarks/soak.py --minutes 60
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import yaml

WORLD = 2
FAULTS = (
    "kill one rank",
    "kill all ranks",
    "SIGTERM to one rank",
    "SIGUSR1 to all ranks",
    "freeze one rank",
    "damage the newest checkpoint",
    "storage fails",
)
OUTLASTED = "storage fails"
FAILS_S = (2.0, 10.0)
LATENCY_S = 0.004
STORAGE = """
import errno, os, time

def pread(*arguments):
    time.sleep({latency_s})
    if os.path.exists({fails!r}):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return _pread(*arguments)

_pread, os.pread = os.pread, pread
"""
"""What Python runs first in the disturbed job's ranks: their reads are late, and fail while a file
is there.
"""
BETWEEN_S = (60.0, 240.0)
QUIET_END_S = 180.0
"""No fault so late that the job could not be under way again at the end."""
HANG_MINUTES = 0.5
SAMPLE_S = 10.0
WARM_S = 300.0
"""Memory is compared from here on: allocators and caches have filled by then."""


class Job:
    """The ranks of one run."""

    def __init__(self, config: Path, name: str, log: Path, **environment_of_job: str) -> None:
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        self.ranks = []
        for rank in range(WORLD):
            environment = os.environ | {
                "RANK": str(rank),
                "WORLD_SIZE": str(WORLD),
                "LOCAL_RANK": str(rank),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
                **environment_of_job,
            }
            with log.open("ab") as file:
                self.ranks.append(
                    subprocess.Popen(
                        [
                            sys.executable,
                            "-m",
                            "bsou_dist.cli",
                            "train",
                            str(config),
                            f"name={name}",
                        ],
                        env=environment,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )

    def send(self, number: signal.Signals, ranks: list[int]) -> None:
        for rank in ranks:
            if self.ranks[rank].poll() is None:
                self.ranks[rank].send_signal(number)

    def end(self) -> list[int]:
        """Exit codes, once all have ended; what a launcher would kill is killed after a while."""
        deadline = time.monotonic() + 120
        while any(process.poll() is None for process in self.ranks) and time.monotonic() < deadline:
            if any(process.poll() not in (None, 0, 75) for process in self.ranks):
                time.sleep(5)  # as a launcher does once a rank has failed
                break
            time.sleep(0.2)
        self.send(signal.SIGKILL, list(range(WORLD)))
        return [process.wait() for process in self.ranks]

    def leftovers(self) -> int:
        """Processes of the job's sessions that still run."""
        sessions = {process.pid for process in self.ranks}
        left = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                left += int(fields[3]) in sessions and fields[0] != "Z"
        return left

    def usage(self) -> dict[str, float]:
        """Resident memory, file handles and threads of all ranks together."""
        total = {"memory_mb": 0.0, "file_handles": 0.0, "threads": 0.0}
        for process in self.ranks:
            folder = Path(f"/proc/{process.pid}")
            status = dict(
                line.split(":", 1) for line in (folder / "status").read_text().splitlines()
            )
            total["memory_mb"] += int(status["VmRSS"].split()[0]) / 1e3
            total["threads"] += int(status["Threads"])
            total["file_handles"] += len(list((folder / "fd").iterdir()))
        return total


class Digests(threading.Thread):
    """Checksums of a run's checkpoints at the ends of epochs, gathered while it trains."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.found = folder, {}
        self._seen: set[str] = set()

    def run(self) -> None:
        while True:
            self.look()
            time.sleep(0.5)

    def look(self) -> None:
        import torch

        for path in self.folder.glob("step-*.pt"):
            if path.name in self._seen:
                continue
            try:
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except Exception:  # pruned meanwhile, or damaged by us
                continue
            self._seen.add(path.name)
            if content["step"] == 0:
                self.found[content["epoch"]] = content["digest"]


def prepare(folder: Path) -> Path:
    """Phantom clips, packed, and the config of a run that does not end by itself."""
    sizes = ["patients=120", "frames=8", "size_px=48", "balanced=true"]
    cohort, shards = folder / "cohort", folder / "shards"
    for arguments in (
        ["phantom", cohort, "--format", "npz", *sizes],
        ["pack", cohort / "cohort.csv", shards, "prepare.size_px=48"],
    ):
        subprocess.run(
            [sys.executable, "-m", "bsou_dist.cli", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    path = folder / "soak.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": "soak",
                "output": str(folder / "runs"),
                "data": {
                    "shards": str(shards),
                    "cohort": str(cohort / "cohort.csv"),
                    "phantom": True,
                    "splits": {
                        "stage1": {"train": 60, "valid": 10},
                        "stage2": {"train": 20, "valid": 10, "test": 10},
                    },
                },
                "feed": {"frames": 4, "size_px": 32},
                "encoder": {"name": "r3d_small", "weights": "none", "norm": "group"},
                "engine": {"name": "deepspeed", "zero_stage": 1, "hang_minutes": HANG_MINUTES},
                "checkpoint": {"every_minutes": 0.25, "keep": 4},
                "pretrain": {
                    "global_batch": 12,
                    "epochs": 100_000,
                    "optim": {"learning_rate": 1e-3, "schedule": {"patience": 50}},
                },
            }
        )
    )
    return path


def slow_storage(folder: Path) -> tuple[dict[str, str], Path]:
    """Environment of a job whose storage is slow, and the file that has it fail."""
    fails, code = folder / "storage-fails", folder / "storage"
    code.mkdir()
    (code / "sitecustomize.py").write_text(STORAGE.format(latency_s=LATENCY_S, fails=str(fails)))
    path = os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path}, fails


def disturb(job: Job, fault: str, checkpoints: Path, draw: random.Random) -> None:
    """Do it to a running job."""
    one, everyone = [draw.randrange(WORLD)], list(range(WORLD))
    if fault == "kill one rank":
        job.send(signal.SIGKILL, one)
    elif fault == "kill all ranks":
        job.send(signal.SIGKILL, everyone)
    elif fault == "SIGTERM to one rank":
        job.send(signal.SIGTERM, one)
    elif fault == "SIGUSR1 to all ranks":
        job.send(signal.SIGUSR1, everyone)
    elif fault == "freeze one rank":
        job.send(signal.SIGSTOP, one)
    else:
        job.send(signal.SIGKILL, everyone)
        for process in job.ranks:
            process.wait()
        newest = max(checkpoints.glob("step-*.pt"))
        with newest.open("r+b") as file:
            file.seek(newest.stat().st_size // 2)
            file.write(bytes(64))


def soak(minutes: float, seed: int, folder: Path) -> dict[str, Any]:
    """Both runs for that long; what was seen."""
    config, draw = prepare(folder), random.Random(seed)
    environment, storage_fails = slow_storage(folder)
    names = ("undisturbed", "disturbed")
    digests = {name: Digests(folder / "runs" / name / "pretrain") for name in names}
    jobs = {
        "undisturbed": Job(config, "undisturbed", folder / "undisturbed.log"),
        "disturbed": Job(config, "disturbed", folder / "disturbed.log", **environment),
    }
    began = time.monotonic()
    for one in digests.values():
        one.start()
    samples, faults, left = [], [], 0
    next_fault, next_sample = draw.uniform(*BETWEEN_S), SAMPLE_S
    try:
        while (now := time.monotonic() - began) < 60 * minutes:
            time.sleep(0.5)
            assert all(process.poll() is None for process in jobs["undisturbed"].ranks), (
                "the undisturbed run has ended"
            )
            if now > next_sample:
                next_sample += SAMPLE_S
                samples.append({"s": round(now), **jobs["undisturbed"].usage()})
            if next_fault < now < 60 * minutes - QUIET_END_S and any(
                digests["disturbed"].folder.glob("step-*.pt")
            ):
                fault = draw.choice(FAULTS)
                codes: list[int] | None = None
                if fault == OUTLASTED:
                    storage_fails.touch()
                    time.sleep(draw.uniform(*FAILS_S))
                    storage_fails.unlink()
                else:
                    disturb(jobs["disturbed"], fault, digests["disturbed"].folder, draw)
                    codes = jobs["disturbed"].end()
                    left += jobs["disturbed"].leftovers()
                epochs = len(digests["disturbed"].found)
                faults.append({"s": round(now), "fault": fault, "codes": codes, "epochs": epochs})
                print(json.dumps(faults[-1]), file=sys.stderr, flush=True)
                if codes is not None:
                    log = folder / "disturbed.log"
                    jobs["disturbed"] = Job(config, "disturbed", log, **environment)
                next_fault = time.monotonic() - began + draw.uniform(*BETWEEN_S)
        for job in jobs.values():
            job.send(signal.SIGTERM, list(range(WORLD)))
        ends = {name: job.end() for name, job in jobs.items()}
    finally:
        for job in jobs.values():
            job.send(signal.SIGKILL, list(range(WORLD)))
    for one in digests.values():
        one.look()
    found = {name: one.found for name, one in digests.items()}
    common = sorted(set(found["undisturbed"]) & set(found["disturbed"]))
    return {
        "minutes": minutes,
        "ranks": WORLD,
        "engine": "deepspeed, ZeRO 1",
        "faults": faults,
        "faults_by_kind": {kind: sum(one["fault"] == kind for one in faults) for kind in FAULTS},
        "last_exit_codes": ends,
        "processes_left_over": left,
        "temporary_files_left_over": len(list((folder / "runs").rglob("*.tmp"))),
        "epochs": {name: max(one, default=0) for name, one in found.items()},
        "epochs_compared": len(common),
        "epochs_that_differ": [
            epoch for epoch in common if found["undisturbed"][epoch] != found["disturbed"][epoch]
        ],
        "loads_of_the_checkpoint_before": len(
            re.findall("the one before it", (folder / "disturbed.log").read_text())
        ),
        "notes_of_storage_that_fails": len(
            re.findall("reading is tried again", (folder / "disturbed.log").read_text())
        ),
        "undisturbed": flatness(samples),
        "samples": samples,
    }


def flatness(samples: list[dict[str, float]]) -> dict[str, list[float]]:
    """Median of the first and of the last quarter of the samples after the warm-up."""
    warm = [one for one in samples if one["s"] > WARM_S] or samples
    quarter = max(1, len(warm) // 4)
    return {
        key: [
            round(statistics.median(one[key] for one in part), 1)
            for part in (warm[:quarter], warm[-quarter:])
        ]
        for key in ("memory_mb", "file_handles", "threads")
    }


def plot(report: dict[str, Any], path: Path) -> None:
    """Memory of the undisturbed job over time, and when the other one was disturbed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(8, 5), layout="constrained", sharex=True)
    at = [one["s"] / 60 for one in report["samples"]]
    axes[0].plot(at, [one["memory_mb"] for one in report["samples"]], label="memory (MB)")
    axes[0].set(ylabel="memory of the undisturbed\njob's ranks (MB)", ylim=(0, None))
    for key, label in (("file_handles", "file handles"), ("threads", "threads")):
        axes[1].plot(at, [one[key] for one in report["samples"]], label=label)
    axes[1].set(ylabel="of the same ranks", xlabel="minutes", ylim=(0, None))
    axes[1].legend(frameon=False, loc="lower right")
    for axis in axes:
        for fault in report["faults"]:
            axis.axvline(fault["s"] / 60, color="tab:red", alpha=0.3, linewidth=1)
    axes[0].set_title(
        f"{len(report['faults'])} faults of the disturbed job (red); {report['epochs_compared']} "
        "epochs "
        f"compared, {len(report['epochs_that_differ'])} differ"
    )
    figure.savefig(path, dpi=120)


def main() -> int:
    """Exit code 1 if anything differs, grows or is left over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/soak.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = soak(options.minutes, options.seed, Path(folder))
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    plot(report, options.out.with_suffix(".png"))
    print(
        json.dumps(
            {key: value for key, value in report.items() if key not in ("samples", "faults")},
            indent=2,
        )
    )
    memory, handles = report["undisturbed"]["memory_mb"], report["undisturbed"]["file_handles"]
    flat = memory[1] < 1.05 * memory[0] and handles[1] <= handles[0] + 2
    good = (
        flat
        and report["epochs_compared"]
        and not report["epochs_that_differ"]
        and not report["processes_left_over"]
        and not report["temporary_files_left_over"]
        and all(code == 75 for codes in report["last_exit_codes"].values() for code in codes)
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
