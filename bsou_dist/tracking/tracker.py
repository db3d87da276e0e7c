"""What a run tells its memory, and the tracker that forgets everything."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import bsou_dist

Status = Literal["FINISHED", "FAILED", "KILLED"]

# Tags that every run carries; `compare` reads them back.
TAG_METHOD = "bsou.method"
TAG_STAGE = "bsou.stage"
TAG_TASK = "bsou.task"
TAG_TASK_RECORD = "bsou.task_record"
TAG_SEED = "bsou.seed"
TAG_PHANTOM = "bsou.phantom"
TAG_DATA = "bsou.data"
TAG_CODE = "bsou.code"


class Tracker(Protocol):
    """Memory of runs, one open run at a time.

    After `start` come any number of `metrics` and `artifact`, then `finish`. No method raises
    because the memory is out of reach, and none waits for it except `finish`, for a bounded time.
    """

    @property
    def address(self) -> str:
        """Where a person looks: a URL, or the command that serves one."""

    def start(
        self,
        name: str,
        *,
        parent: str | None,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        run: str | None = None,
    ) -> str:
        """Open a run and return its id.

        Args:
            name: what people see.
            parent: the id that `start` gave for the parent's run; None without one.
            params: may be nested; they are stored flat, under dotted keys.
            tags: by key, such as those above.
            run: an id that `start` gave before, to go on with that run.
        """

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record values at an optimizer step; without one, values that hold for the whole run."""

    def artifact(self, path: Path) -> None:
        """Keep a copy of a file or folder with the run.

        It must stay in place until `finish` returns.
        """

    def finish(self, status: Status) -> None:
        """Close the run."""


class NullTracker:
    """The tracker of every rank but 0: takes everything, keeps nothing."""

    address = "not tracked"

    def start(
        self,
        name: str,
        *,
        parent: str | None,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        run: str | None = None,
    ) -> str:
        return ""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        pass

    def artifact(self, path: Path) -> None:
        pass

    def finish(self, status: Status) -> None:
        pass


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested mappings to one level of dotted keys, with values as text.

    An empty mapping stays visible as '{}'.
    """
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            plain = dict(value) if isinstance(value, Mapping) else value
            flat[name] = str(plain)
    return flat


def code_version(source: Path = Path(__file__)) -> str:
    """Name the package's version and, where `source` lies in its own git checkout, the commit.

    Such as '0.1.0+3f2c9a71d0e4-dirty'.
    """
    folder = source.parent
    try:
        # A package installed inside somebody else's repository must not report the commit of that.
        _git(folder, "ls-files", "--error-unmatch", source.name)
        commit = _git(folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return bsou_dist.__version__
    return f"{bsou_dist.__version__}+{commit}"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ("git", *arguments), cwd=folder, check=True, capture_output=True, text=True, timeout=10
    )
    return done.stdout.strip()
