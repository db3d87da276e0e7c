"""A process that trains on a CPU does not ask the system for the same memory again and again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from bsou_dist.engine.processes import start_processes

def steps():
    for _ in range(16):
        torch.ones(2**24)  # 64 MiB

with start_processes():
    steps()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    steps()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="for glibc only")
def test_memory_is_mapped_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100  # else 512 at least, with pages of 2 MiB
