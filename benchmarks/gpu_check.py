"""What a new GPU machine must prove before a long run is given to it: that training gives there
what it gives elsewhere, and how fast.

The tests marked `gpu`, the demo on one GPU and on two, loss and gradient of several GPUs against
one and of one against the CPU, every stage of ZeRO and every switch for speed against plain
float32, the loss against its matrix products, steps, decoding and the feed. Each part is done by a
process of its own, so that one that fails, hangs or crashes keeps none of the others from being
done. A part whose packages or devices are not there is skipped, and the report says so. The report
is written anew after every part: gpu-check.json, and gpu-check.md for readers.

    make gpu-check
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCRIPT = Path(__file__).resolve()
PARTS = (
    "tests",
    "equal",
    "zero",
    "switches",
    "demo",
    "loss",
    "step",
    "decode",
    "feed",
)
"""Functions of gpu_parts.py, in the order in which they are done."""
PACKAGES = (
    "torch",
    "torchvision",
    "triton",
    "nvidia-dali-cuda130",
    "nvidia-dali-cuda120",
    "deepspeed",
    "webdataset",
    "mlflow",
    "pydantic",
    "av",
    "pydicom",
    "timm",
    "pytest",
)
NO_GPU = "this machine has no CUDA device"
MINUTES = 30.0
"""How long a part may take, if nothing else is asked for."""


def run_part(name: str, device: str, minutes: float) -> dict[str, Any]:
    """Do a part in a process of its own; what came of it, with the rows that it got to."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows_path, said_path = Path(folder) / "rows", Path(folder) / "said"
        command = [sys.executable, str(SCRIPT), "--part", name, "--device", device]
        with said_path.open("wb") as said:
            process = subprocess.Popen(
                [*command, "--rows", str(rows_path)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            why = _fault_of(process, minutes)
        lines = rows_path.read_text().splitlines() if rows_path.is_file() else []
        rows = [json.loads(line) for line in lines]
        last_words = said_path.read_text(errors="replace")[-2000:]
    results = [row["result"] for row in rows if "result" in row]
    if why:
        found: dict[str, Any] = {"result": "failed", "why": why, "said": last_words}
    elif "failed" in results:
        bad = [row for row in rows if row.get("result") == "failed"]
        found = {"result": "failed", "why": f"{len(bad)} of {len(rows)} rows failed"}
    elif results and len(results) == len(rows) and set(results) == {"skipped"}:
        found = {"result": "skipped", "why": "; ".join(dict.fromkeys(row["why"] for row in rows))}
    elif not rows:
        found = {"result": "skipped", "why": "there was nothing to do"}
    else:
        found = {"result": "passed", "why": ""}
    return found | {"seconds": round(time.monotonic() - began, 1), "rows": rows}


def _fault_of(process: subprocess.Popen[bytes], minutes: float) -> str | None:
    """Wait for a part; why it failed, or None."""
    try:
        code = process.wait(60 * minutes)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the ranks that it has started
        process.wait()
        return f"not done after {minutes:g} minutes"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}" if code else None


def do_part(name: str, device: str, rows_path: Path) -> None:
    """What the process of a part does: write a line for each row as it comes."""
    sys.path.insert(0, str(HERE.parent))  # runs from a checkout that nothing was installed for
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE)])  # its ranks too
    import gpu_parts

    scale = gpu_parts.ON_CPU if device == "cpu" else gpu_parts.ON_GPU
    with rows_path.open("w") as lines:
        try:
            for row in getattr(gpu_parts, name)(scale, device):
                print(json.dumps(row), file=lines, flush=True)
        except ModuleNotFoundError as error:
            why = f"{error.name} is not installed"
            print(json.dumps({"result": "skipped", "why": why}), file=lines)


def check(device: str, out: Path, parts: tuple[str, ...], minutes: float) -> dict[str, Any]:
    """Do all parts, and write the report after each."""
    report = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **machine(device)}
    report["parts"] = {}
    there = device == "cpu" or report["gpus"]
    for name in parts:
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        if there:
            found = run_part(name, device, minutes)
        else:
            found = {"result": "skipped", "why": NO_GPU, "seconds": 0.0, "rows": []}
        print(f"{found['result']} ({found['seconds']} s) {found['why']}", file=sys.stderr)
        report["parts"][name] = found
        out.mkdir(parents=True, exist_ok=True)
        _write(out / "gpu-check.json", json.dumps(report, indent=2) + "\n")
        _write(out / "gpu-check.md", markdown(report))
    return report


def machine(device: str) -> dict[str, Any]:
    """What was checked: GPUs, driver, Python, packages."""
    import torch

    count = torch.cuda.device_count() if device == "cuda" else 0
    properties = [torch.cuda.get_device_properties(number) for number in range(count)]
    return {
        "device": device,
        "gpus": [f"{one.name}, {one.total_memory / 1e9:.0f} GB" for one in properties],
        "driver": _driver() if count else None,
        "cuda": torch.version.cuda,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if count else None,
        "cpu_cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in PACKAGES},
    }


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split("\n")[0].strip() or None


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def installed(package: str) -> str | None:
    """Version of a package; None without it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def markdown(report: dict[str, Any]) -> str:
    """The report for readers."""
    found = ", ".join(f"{name} {at}" for name, at in report["packages"].items() if at)
    missing = ", ".join(name for name, at in report["packages"].items() if not at) or "none"
    gpus = ", ".join(report["gpus"]) or "no GPU"
    lines = [
        "# GPU check",
        "",
        f"{report['at']}: {gpus}; driver {report['driver']}, CUDA {report['cuda']}, NCCL "
        f"{report['nccl']}, Python {report['python']}. {found}. Not installed: {missing}.",
        "",
        "| part | result | seconds | why |",
        "|---|---|---|---|",
    ]
    parts: dict[str, dict[str, Any]] = report["parts"]
    lines += [
        f"| {name} | {part['result']} | {part['seconds']} | {_cell(part['why'])} |"
        for name, part in parts.items()
    ]
    for name, part in parts.items():
        rows = part["rows"]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        if columns:
            lines += ["", f"## {name.capitalize()}", ""]
            lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
            lines += [
                "| " + " | ".join(_cell(row.get(column)) for column in columns) + " |"
                for row in rows
            ]
        if "said" in part:
            lines += ["", f"Last words of {name}:", "", "```", part["said"].strip(), "```"]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return "" if value is None else " ".join(str(value).split()).replace("|", "/")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 if anything failed; what was skipped is no failure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try this script"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the report")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for each part")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        do_part(options.part, options.device, options.rows)
        return 0
    report = check(options.device, options.out, tuple(options.only), options.minutes)
    print(markdown(report))
    results = [part["result"] for part in report["parts"].values()]
    if set(results) == {"skipped"}:
        print("gpu-check: nothing was checked or measured", file=sys.stderr)
    return int("failed" in results)


if __name__ == "__main__":
    sys.exit(main())
