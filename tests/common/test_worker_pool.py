from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bsou_dist.common.worker_pool import Limits, Lost, ordered_map

LIMITS = Limits(seconds=1.0, memory_mb=256)


def _work(item: int) -> int:
    if item in (3, 4):
        os._exit(1)  # as a decoder does that crashes
    if item == 9:
        raise ValueError("nine")
    return item * item


def test_a_crash_costs_its_item_alone() -> None:
    results = list(ordered_map(_work, range(9), 2))
    assert results == [
        0,
        1,
        4,
        Lost("its decoder crashed"),
        Lost("its decoder crashed"),
        25,
        36,
        49,
        64,
    ]


def _greedy(item: str) -> str:
    if item == "hangs":
        ctypes.PyDLL(None).sleep(30)  # in C, and gives Python no turn
    if item == "grows":
        return str(np.ones(2**30, np.uint8).sum())
    if item == "lets C grow":
        address = ctypes.CDLL(None).malloc(2**30)
        return "refused" if not address else "given"
    return str(np.ones(2**26, np.uint8).sum())


def test_time_and_memory_are_limited_for_each_item() -> None:
    items = ["a", "hangs", "b", "grows", "c", "lets C grow", *"defgh"]
    results = dict(zip(items, ordered_map(_greedy, items, 2, LIMITS), strict=True))
    assert results.pop("hangs") == Lost("it took more than 1 s")
    assert results.pop("grows") == Lost("it needed more than 256 MB")
    assert results.pop("lets C grow") == "refused"
    assert set(results.values()) == {str(2**26)}


@pytest.mark.slow
def test_without_limits_memory_is_the_machines() -> None:
    assert list(ordered_map(_greedy, ["grows"], 1)) == [str(2**30)]


def _once(mark: Path) -> str:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when all memory is used up
    return "done"


def test_what_was_another_items_fault_is_tried_again(tmp_path: Path) -> None:
    assert list(ordered_map(_once, [tmp_path / "mark"], 1)) == ["done"]


def test_results_are_drawn_as_they_are_wanted() -> None:
    drawn = []
    results = ordered_map(str, (drawn.append(item) or item for item in range(1000)), 1)
    assert next(results) == "0"
    assert len(drawn) < 10
    results.close()


def _sleep_after_the_first(item: tuple[int, Path]) -> None:
    number, folder = item
    if number:
        (folder / str(os.getpid())).touch()
        time.sleep(1000)


def test_a_generator_that_is_closed_leaves_no_process(tmp_path: Path) -> None:
    results = ordered_map(_sleep_after_the_first, ((number, tmp_path) for number in range(9)), 2)
    next(results)
    while len(begun := list(tmp_path.iterdir())) < 2:
        time.sleep(0.01)
    results.close()
    for path in begun:
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_exceptions_of_the_function_are_raised() -> None:
    for workers in (0, 1):
        with pytest.raises(ValueError, match="nine") as raised:
            list(ordered_map(_work, [1, 9], workers))
    assert "in _work" in raised.value.__notes__[0]  # where it happened in the other process


def test_a_function_that_no_process_can_load_is_an_error() -> None:
    program = (
        "from bsou_dist.common.worker_pool import ordered_map\ndef f(x): "
        "pass\nlist(ordered_map(f, [1], 1))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stderr.rstrip().endswith(
        "a worker process ended before its first item; its message stands above"
    )


INTERRUPTED = """
import time
from bsou_dist.common.worker_pool import ordered_map

for result in ordered_map(time.sleep, [0] + [0.5] * 100, 2):
    print("begun", flush=True)
"""


def test_an_interrupt_is_the_parents_alone() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, errors = process.communicate(timeout=300)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


ORPHANED = """
import os
import time
from bsou_dist.common.worker_pool import ordered_map

for _ in ordered_map(time.sleep, [0] + [0.5] * 10, 2):
    print("begun", flush=True)
    os.kill(os.getpid(), 9)
"""


def test_workers_end_with_a_parent_that_is_killed() -> None:
    process = subprocess.run(
        [sys.executable, "-c", ORPHANED],
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )  # returns when no process holds the pipe any more
    assert process.returncode == -signal.SIGKILL
