from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from bsou_dist.shards.workers import Crashed, ordered_map


def _work(item: int) -> int:
    if item in (3, 4):
        os._exit(1)  # as a decoder does that crashes
    if item == 9:
        raise ValueError("nine")
    return item * item


def test_a_crash_costs_its_item_alone() -> None:
    results = list(ordered_map(_work, range(9), 2))
    assert [result for result in results if not isinstance(result, Crashed)] == [0, 1, 4, 25, 36, 49, 64]
    assert [isinstance(result, Crashed) for result in results] == [item in (3, 4) for item in range(9)]


def test_results_are_drawn_as_they_are_wanted() -> None:
    drawn = []
    results = ordered_map(str, (drawn.append(item) or item for item in range(1000)), 1)
    assert next(results) == "0"
    assert len(drawn) < 10
    results.close()


def test_exceptions_of_the_function_are_raised() -> None:
    for workers in (0, 1):
        with pytest.raises(ValueError, match="nine"):
            list(ordered_map(_work, [1, 9], workers))


INTERRUPTED = """
import time
from bsou_dist.shards.workers import ordered_map

for result in ordered_map(time.sleep, [0] + [0.5] * 100, 2):
    print("begun", flush=True)
"""


def test_an_interrupt_is_the_parents_alone() -> None:
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, errors = process.communicate(timeout=60)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
