"""The tests of a file run in one process, in order, though several processes run tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FILE = "import pytest\n@pytest.mark.parametrize('i', range(4))\ndef test_it(i): pass\n"


def test_a_file_has_one_process(tmp_path: Path) -> None:
    names = [f"test_{letter}.py" for letter in "abcdef"] + [
        f"tests/slurm/test_{letter}.py" for letter in "gh"
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(FILE)
    support = Path(__file__).parent / "support"
    command = "-v -n 3 -p files_together -p no:cacheprovider"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command.split(), *names],
        cwd=tmp_path,
        env={"PYTHONPATH": str(support)},
        capture_output=True,
        text=True,
        check=True,
    )
    ran = re.findall(r"\[(gw\d)\] .*PASSED (\S+)::test_it\[(\d)\]", done.stdout)
    assert len(ran) == 4 * len(names)
    processes = {name: {process for process, file, _ in ran if file == name} for name in names}
    assert all(len(found) == 1 for found in processes.values()), processes
    cluster = [processes[name] for name in names if "slurm" in name]
    assert cluster[0] == cluster[1]
    for name in names:
        assert [number for _, file, number in ran if file == name] == list("0123")
