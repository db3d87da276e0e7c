"""Which tests share a process where several run them: a plugin for pytest-xdist.

Its own `--dist loadgroup` puts the group into the id of a test, which pytest 9.2 does not allow any
more (pytest-xdist 3.8.0, issue 1386): tests are then handed out one by one, and what the tests of a
file share is made in every process.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

CLUSTER = "tests/slurm/"


class FilesTogether(LoadScopeScheduling):
    """Hands out whole files, in the order of collection; those of the cluster as one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return CLUSTER if file.startswith(CLUSTER) else file


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    """Take the place of the scheduler that `--dist` names."""
    config.option.loadscopereorder = False  # it would put files of many tests before long ones
    return FilesTogether(config, log)
