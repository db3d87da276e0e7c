from __future__ import annotations

import re
import subprocess
from pathlib import Path

import bsou_dist
from bsou_dist.tracking.tracker import NullTracker, code_version, flatten


def test_the_null_tracker_takes_everything(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("not kept")
    tracker = NullTracker()
    assert tracker.start("stage", parent=None, params={"a": {"b": 1}}, tags={}) == ""
    tracker.metrics({"train/loss": 3.0}, 1)
    tracker.metrics({"main/t/exam/mae": 5.5})
    tracker.artifact(note)
    tracker.finish("FINISHED")
    assert list(tmp_path.iterdir()) == [note]


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": None}}, "e": {}, "f": [1, {"g": 2}]}) == {
        "a.b": "1",
        "a.c.d": "None",
        "e": "{}",
        "f": "[1, {'g': 2}]",
    }


def test_code_version_names_the_commit_of_its_own_checkout_only(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    version = re.escape(bsou_dist.__version__)
    source = tmp_path / "tracker.py"
    source.write_text("a = 1\n")
    assert re.fullmatch(version, code_version(source))
    git("init")
    assert re.fullmatch(version, code_version(source))
    git("add", "tracker.py")
    git("commit", "-m", "one")
    assert re.fullmatch(version + r"\+[0-9a-f]{12}", code_version(source))
    source.write_text("a = 2\n")
    assert re.fullmatch(version + r"\+[0-9a-f]{12}-dirty", code_version(source))
    installed_here = tmp_path / "site-packages.py"
    installed_here.touch()
    assert re.fullmatch(version, code_version(installed_here))
