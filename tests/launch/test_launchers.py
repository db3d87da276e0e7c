"""The launchers start real ranks of a stand-in `bsou_dist.cli`, which says what it was given and
ends as it is told.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"
PROGRAM = """
import json, os, signal, sys, time
if "--check" in sys.argv:
    if "bad" in sys.argv:
        print("bad config for", sys.argv[-1], "processes", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
rank = os.environ["RANK"]
# As bsou does once it has handlers.
signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
with open(f"rank{rank}.json", "w") as file:
    json.dump({name: os.environ[name] for name in names} | {"argv": sys.argv[1:]}, file)
if rank == "1" and "fails" in sys.argv:
    sys.exit(int(sys.argv[-1]))
if rank == "1" and "dies" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
if "fails-once" in sys.argv and not os.path.exists(f"failed{rank}"):
    open(f"failed{rank}", "w").close()
    time.sleep(0 if rank == "1" else 60)
    sys.exit(rank == "1")
if "waits" in sys.argv:
    told = []
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, lambda number, frame: told.append(number))
    open(f"waiting{rank}", "w").close()
    while not told:
        time.sleep(0.01)
    time.sleep(3 if rank == "0" else 0)  # is the first one left in peace while it saves?
    with open(f"told{rank}", "w") as file:
        file.write(signal.Signals(told[0]).name)
    sys.exit(75)
"""


DEEPSPEED_TOO = pytest.param("deepspeed.sh", marks=pytest.mark.slow)
"""Starting DeepSpeed's launcher takes six seconds of processor time."""


@pytest.fixture(params=["torchrun.sh", "deepspeed.sh"])
def launcher(request: pytest.FixtureRequest) -> str:
    return str(LAUNCH / request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bsou_dist").mkdir()
    (tmp_path / "bsou_dist" / "__init__.py").touch()
    (tmp_path / "bsou_dist" / "cli.py").write_text(PROGRAM)
    return tmp_path


def start(
    launcher: str, folder: Path, *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    told = {
        "NPROC",
        "NNODES",
        "NODE_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "OMP_NUM_THREADS",
        "RANK",
        "WORLD_SIZE",
        "MAX_RESTARTS",
    }
    clean = {key: value for key, value in os.environ.items() if key not in told}
    return subprocess.Popen(
        [launcher, *arguments],
        cwd=folder,
        env=clean | {"PYTHON": sys.executable} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    try:
        output, errors = process.communicate(timeout=600)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def launch(
    launcher: str, folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return end(start(launcher, folder, *arguments, **environment))


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 600
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, f"none of {paths}"
        time.sleep(0.05)


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


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


@pytest.mark.parametrize("code", [pytest.param(1, marks=pytest.mark.slow), 2])
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


@pytest.mark.parametrize(
    "name",
    ["SIGTERM", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGUSR1", "SIGINT"))],
)
def test_a_run_that_is_told_to_stop_saves_and_ends_with_75(
    launcher: str, folder: Path, name: str
) -> None:
    process = start(launcher, folder, "config.yaml", "waits")
    wait_for(folder / "waiting0", folder / "waiting1")
    process.send_signal(signal.Signals[name])
    done = end(process)
    assert done.returncode == 75, done.stderr
    assert [(folder / f"told{rank}").read_text() for rank in range(2)] == [name] * 2


@pytest.mark.parametrize("launcher", ["torchrun.sh", DEEPSPEED_TOO], indirect=True)
def test_the_second_sigterm_ends_ranks_that_do_not_stop(launcher: str, folder: Path) -> None:
    stubborn = PROGRAM.replace("while not told", "while len(told) < 2")
    (folder / "bsou_dist" / "cli.py").write_text(stubborn)
    process = start(launcher, folder, "config.yaml", "waits")
    wait_for(folder / "waiting0", folder / "waiting1")
    process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.terminate()
    assert end(process).returncode not in (0, 2)


def test_failed_ranks_are_started_anew_as_often_as_is_allowed(folder: Path) -> None:
    done = launch(
        str(LAUNCH / "torchrun.sh"), folder, "config.yaml", "fails-once", MAX_RESTARTS="1"
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "failed1").exists()


def test_a_run_that_was_told_to_stop_is_not_started_anew(folder: Path) -> None:
    process = start(str(LAUNCH / "torchrun.sh"), folder, "config.yaml", "waits", MAX_RESTARTS="3")
    wait_for(folder / "waiting0", folder / "waiting1")
    process.terminate()
    assert end(process).returncode == 75


@pytest.mark.parametrize(
    ("script", "restarts"), [("torchrun.sh", "0"), ("torchrun.sh", "1"), ("deepspeed.sh", "0")]
)
def test_two_nodes_meet(folder: Path, script: str, restarts: str) -> None:
    """Two launchers as two nodes of one rank each; with restarts allowed, the second rank fails
    once.
    """
    nodes = [
        start(
            str(LAUNCH / script),
            folder,
            "config.yaml",
            *(["fails-once"] if restarts != "0" else []),
            NPROC="1",
            NNODES="2",
            NODE_RANK=str(rank),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
            MAX_RESTARTS=restarts,
        )
        for port in [free_port()]
        for rank in range(2)
    ]
    done = [end(node) for node in nodes]
    assert [one.returncode for one in done] == [0, 0], [one.stderr[-2000:] for one in done]
    ranks = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [(rank["WORLD_SIZE"], rank["LOCAL_RANK"]) for rank in ranks] == [("2", "0")] * 2
    assert ranks[0]["MASTER_PORT"] == ranks[1]["MASTER_PORT"]


def test_deepspeeds_launcher_restarts_nothing_and_says_so(folder: Path) -> None:
    done = launch(str(LAUNCH / "deepspeed.sh"), folder, "config.yaml", MAX_RESTARTS="1")
    assert done.returncode == 2
    assert "use torchrun.sh" in done.stderr


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NPROC": "two"}, "NPROC is 'two'"),
        ({"NNODES": "0"}, "NNODES is '0'"),
        ({"NODE_RANK": "1"}, "NODE_RANK is '1'"),
        ({"NNODES": "2"}, "MASTER_ADDR is not set"),
        ({"MAX_RESTARTS": "often"}, "MAX_RESTARTS is 'often'"),
    ],
)
def test_a_bad_environment_is_the_users_to_mend(
    folder: Path, environment: dict[str, str], message: str
) -> None:
    done = launch(str(LAUNCH / "torchrun.sh"), folder, "config.yaml", **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
