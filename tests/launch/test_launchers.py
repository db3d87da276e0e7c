"""The launchers start real ranks of a stand-in `bsou_dist.cli`, which says what it was given and ends as it is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"
PROGRAM = '''
import json, os, signal, sys
if "--check" in sys.argv:
    if "bad" in sys.argv:
        print("bad config for", sys.argv[-1], "processes", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
rank = os.environ["RANK"]
with open(f"rank{rank}.json", "w") as file:
    json.dump({name: os.environ[name] for name in names} | {"argv": sys.argv[1:]}, file)
if rank == "1" and "fails" in sys.argv:
    sys.exit(int(sys.argv[-1]))
if rank == "1" and "dies" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture(params=["torchrun.sh", "deepspeed.sh"])
def launcher(request: pytest.FixtureRequest) -> str:
    return str(LAUNCH / request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bsou_dist").mkdir()
    (tmp_path / "bsou_dist" / "__init__.py").touch()
    (tmp_path / "bsou_dist" / "cli.py").write_text(PROGRAM)
    return tmp_path


def launch(launcher: str, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    told = {"NPROC", "NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS", "RANK", "WORLD_SIZE"}
    clean = {key: value for key, value in os.environ.items() if key not in told}
    return subprocess.run([launcher, *arguments], cwd=folder, env=clean | {"PYTHON": sys.executable} | environment,
                          capture_output=True, text=True, timeout=120, check=False)


def test_two_ranks_get_the_same_arguments_and_their_own_place(launcher: str, folder: Path) -> None:
    done = launch(launcher, folder, "config.yaml", "a.b=1 2", OMP_NUM_THREADS="3")
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [rank["argv"] for rank in ranks] == [["train", "config.yaml", "a.b=1 2"]] * 2
    places = [(rank["RANK"], rank["LOCAL_RANK"], rank["WORLD_SIZE"]) for rank in ranks]
    assert places == [("0", "0", "2"), ("1", "1", "2")]
    assert ranks[0]["MASTER_ADDR"] == "127.0.0.1"
    assert ranks[0]["MASTER_PORT"] == ranks[1]["MASTER_PORT"]
    assert ranks[0]["OMP_NUM_THREADS"] == "3"


def test_a_users_mistake_is_told_once_before_any_rank_starts(launcher: str, folder: Path) -> None:
    done = launch(launcher, folder, "bad", NPROC="3")
    assert (done.returncode, done.stderr) == (2, "bad config for 3 processes\n")
    assert not list(folder.glob("rank*.json"))


@pytest.mark.parametrize("code", [1, 2])
def test_the_exit_code_of_a_rank_is_the_launchers(launcher: str, folder: Path, code: int) -> None:
    done = launch(launcher, folder, "config.yaml", "fails", str(code))
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_rank_that_is_killed_fails_the_run_and_is_named(launcher: str, folder: Path) -> None:
    done = launch(launcher, folder, "config.yaml", "dies")
    assert done.returncode > 128
    assert re.search("signal 9|return code = -9", done.stdout + done.stderr)


def test_no_config_shows_the_usage(launcher: str, folder: Path) -> None:
    done = launch(launcher, folder)
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")


@pytest.mark.parametrize(("environment", "message"), [
    ({"NPROC": "two"}, "NPROC is 'two'"),
    ({"NNODES": "0"}, "NNODES is '0'"),
    ({"NODE_RANK": "1"}, "NODE_RANK is '1'"),
    ({"NNODES": "2"}, "MASTER_ADDR is not set"),
])
def test_a_bad_environment_is_the_users_to_mend(folder: Path, environment: dict[str, str], message: str) -> None:
    done = launch(str(LAUNCH / "torchrun.sh"), folder, "config.yaml", **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
