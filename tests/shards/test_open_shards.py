"""All shards held open, as far as the limit on open files allows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bsou_dist.shards.open_shards import OpenShards

PROGRAM = """
import os, resource, sys
from pathlib import Path
from bsou_dist.shards.open_shards import OpenShards
folder, hard = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
names = sorted(path.name for path in folder.iterdir())
before = len(os.listdir("/proc/self/fd"))
shards = OpenShards.of(folder, names)
for name in names:
    shards.descriptor(name)
print(len(os.listdir("/proc/self/fd")) - before, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("hard", "opened", "said"),
    [
        (4096, "300 1324", ""),
        (1100, "76 1100", "of the 300 shards in {} only 76 are held open at once"),
    ],
)
def test_the_limit_on_open_files_is_raised_or_said(
    tmp_path: Path, hard: int, opened: str, said: str
) -> None:
    for number in range(300):
        (tmp_path / f"{number:06d}.tar").touch()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(hard)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{opened}\n"
    assert said.format(tmp_path) in done.stderr
    assert ("ulimit -Hn) to 1324" in done.stderr) == bool(said)


def test_readers_of_a_folder_share_what_is_open(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).touch()
    first = OpenShards.of(tmp_path, ["a.tar"])
    second = OpenShards.of(tmp_path, ["b.tar"])
    assert first.descriptor("a.tar") is second.descriptor("a.tar")
    in_use = first.descriptor("b.tar")
    first.forget()
    os.fstat(in_use.number)  # whoever reads keeps it open
    assert second.descriptor("b.tar") is not in_use
