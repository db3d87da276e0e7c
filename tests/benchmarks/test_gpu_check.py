"""The check of a GPU machine, where there is none and where parts go wrong."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu_check  # noqa: E402

sys.path.remove(str(BENCHMARKS))


def report_in(folder: Path) -> dict:
    return json.loads((folder / "gpu-check.json").read_text())


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a CUDA device")
def test_without_a_gpu_every_part_is_skipped_and_says_why(tmp_path, capsys):
    assert gpu_check.main(["--out", str(tmp_path)]) == 0
    report = report_in(tmp_path)
    assert list(report["parts"]) == list(gpu_check.PARTS)
    assert {part["result"] for part in report["parts"].values()} == {"skipped"}
    assert {part["why"] for part in report["parts"].values()} == {gpu_check.NO_GPU}
    assert "nothing was checked" in capsys.readouterr().err
    assert "| zero | skipped |" in (tmp_path / "gpu-check.md").read_text()


PROGRAM = """
import json, os, sys, time
part, rows = sys.argv[sys.argv.index("--part") + 1], open(sys.argv[-1], "w")
def row(**values):
    print(json.dumps(values), file=rows, flush=True)
if part == "tests":
    row(a=1)
    print("last words", flush=True)
    os.abort()
if part == "equal":
    time.sleep(600)
if part == "zero":
    row(result="skipped", why="deepspeed is not installed")
if part == "switches":
    row(result="passed", b=2)
    row(result="failed", why="differs | much")
if part == "demo":
    sys.exit("no demo")
if part == "loss":
    row(s=0.5)
"""


@pytest.fixture
def parts_go_wrong(monkeypatch, tmp_path) -> None:
    """Parts that do what `PROGRAM` does."""
    (tmp_path / "parts.py").write_text(textwrap.dedent(PROGRAM))
    monkeypatch.setattr(gpu_check, "SCRIPT", tmp_path / "parts.py")


def test_a_part_that_hangs_is_ended(parts_go_wrong):
    found = gpu_check.run_part("equal", "cpu", 0.01)
    assert (found["result"], found["why"]) == ("failed", "not done after 0.01 minutes")


def test_a_part_that_dies_is_told_and_the_others_are_done(parts_go_wrong, tmp_path):
    parts = ["tests", "zero", "switches", "demo", "loss", "step"]
    arguments = ["--device", "cpu", "--out", str(tmp_path), "--only", *parts]
    assert gpu_check.main(arguments) == 1
    found = report_in(tmp_path)["parts"]
    assert {name: (part["result"], part["why"]) for name, part in found.items()} == {
        "tests": ("failed", "ended by SIGABRT"),
        "zero": ("skipped", "deepspeed is not installed"),
        "switches": ("failed", "1 of 2 rows failed"),
        "demo": ("failed", "ended with exit code 1"),
        "loss": ("passed", ""),
        "step": ("skipped", "there was nothing to do"),
    }
    assert found["tests"]["rows"] == [{"a": 1}]
    assert "last words" in found["tests"]["said"]
    assert "| failed |  | differs / much |" in (tmp_path / "gpu-check.md").read_text()


def test_a_part_without_its_package_is_skipped_and_names_it(monkeypatch, tmp_path):
    def needs_something(scale, device):
        yield {"s": 1}
        import no_such_package  # noqa: F401

    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu_parts

    monkeypatch.setattr(gpu_parts, "feed", needs_something)
    monkeypatch.setenv("PYTHONPATH", "")
    gpu_check.do_part("feed", "cpu", tmp_path / "rows")
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert rows == [{"s": 1}, {"result": "skipped", "why": "no_such_package is not installed"}]
    assert not (set(gpu_check.PARTS) - set(dir(gpu_parts)))


def test_what_is_compared_fails_beyond_what_is_allowed(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu_parts
    import gpu_ranks

    assert gpu_parts.judged(1e-3, 1e-3)["result"] == "passed"
    assert gpu_parts.judged(2e-3, 1e-3)["result"] == "failed"
    assert gpu_parts.judged(float("nan"), 1e-3)["result"] == "failed"
    assert "is not installed" in gpu_parts.lacks("no_such.package")
    assert gpu_parts.lacks("numpy") is None
    expected = (2.0, {"a": torch.ones(4), "b": torch.zeros(2)})
    near = (2.0, {"a": torch.ones(4) * 1.01, "b": torch.zeros(2)})
    assert gpu_parts.compared(near, expected, 0.02)["result"] == "passed"
    assert gpu_parts.compared(near, expected, 0.005)["result"] == "failed"
    assert gpu_parts.compared((2.2, near[1]), expected, 0.02)["result"] == "failed"
    assert gpu_ranks.difference(near[1], expected[1]) == pytest.approx(0.01)
