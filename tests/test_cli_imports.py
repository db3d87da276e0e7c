"""What no command imports before it has to: a help page or a mistake must not take seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from bsou_dist.cli import COMMANDS

PROGRAM = """
import json, sys
from bsou_dist.cli import main
from bsou_dist.commands import slurm

for program, *arguments in json.loads(sys.argv[1]):
    try:
        code = main(arguments) if program == "bsou" else slurm.main(main, arguments)
    except SystemExit as end:
        code = end.code
    packages = ("torch", "nvidia.dali", "deepspeed", "mlflow", "pandas", "matplotlib")
    imported = [name for name in packages if name in sys.modules]
    print("\\nended: " + json.dumps([code, imported]))
"""


class Ended(NamedTuple):
    """The exit code of a command line, and the slow packages that are imported by its end."""

    code: int
    imported: set[str]


def run_all(*command_lines: str) -> dict[str, Ended]:
    """What becomes of command lines that run in one process, one after the other."""
    words = json.dumps([line.split() for line in command_lines])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    answers = [line for line in done.stdout.splitlines() if line.startswith("ended: ")]
    ended = {}
    for command_line, answer in zip(command_lines, answers, strict=True):
        code, imported = json.loads(answer.removeprefix("ended: "))
        ended[command_line] = Ended(code, set(imported))
    return ended


def test_help_imports_nothing_slow() -> None:
    commands = ["bsou", "bsou cohort", "slurm.py", *(f"bsou {words}" for words in COMMANDS)]
    for command_line, ended in run_all(*(f"{command} --help" for command in commands)).items():
        assert ended == Ended(0, set()), command_line


def test_a_mistake_in_the_arguments_is_told_before_anything_slow_is_imported() -> None:
    without_arguments = ["bsou", "bsou cohort", "slurm.py", *(f"bsou {name}" for name in COMMANDS)]
    unknown_options = [f"bsou {words} a b c d --no-such-option" for words in COMMANDS]
    others = [
        "bsou no-such-command",
        "bsou train config.yaml --check none",
        "bsou phantom out --layout other",
        "bsou pack cohort.csv out --max-rejects 50",
        "slurm.py config.yaml --no-such-option",
    ]
    for command_line, ended in run_all(*without_arguments, *unknown_options, *others).items():
        assert ended == Ended(2, set()), command_line


@pytest.mark.parametrize(
    ("command_line", "not_needed"),
    [
        ("bsou verify FOLDER", {"torch", "mlflow", "deepspeed", "nvidia.dali"}),
        ("bsou inspect FOLDER", {"torch", "mlflow", "deepspeed", "nvidia.dali"}),
        ("bsou pack FOLDER/c.csv FOLDER/out", {"torch", "mlflow", "deepspeed", "nvidia.dali"}),
        ("bsou pack FOLDER/c.csv FOLDER/out --executor=local", {"torch", "mlflow", "deepspeed"}),
        ("bsou cohort freeze FOLDER/c.csv FOLDER/out", {"torch", "mlflow", "deepspeed"}),
        ("bsou phantom FOLDER", {"torch", "mlflow", "deepspeed", "matplotlib"}),
        ("bsou train FOLDER/config.yaml", {"mlflow", "deepspeed", "nvidia.dali", "matplotlib"}),
        ("bsou embed FOLDER FOLDER FOLDER/e.parquet", {"mlflow", "deepspeed", "nvidia.dali"}),
    ],
)
def test_a_fault_is_found_without_what_finding_it_does_not_need(
    command_line: str, not_needed: set[str], tmp_path: Path
) -> None:
    """An empty folder is at fault, whatever it was wanted for."""
    [ended] = run_all(command_line.replace("FOLDER", str(tmp_path))).values()
    assert ended.code == 2
    assert ended.imported & not_needed == set()
