"""Files that are whole, and files for their owner alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bsou_dist.common.errors import InputError
from bsou_dist.common.files import check_private, private_file, write_text


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("map.csv", "map.csv.tmp"):
        (tmp_path / name).symlink_to(victim)
    with private_file(tmp_path / "map.csv") as file:
        file.write(b"secret")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "map.csv").is_symlink()
    assert (tmp_path / "map.csv").read_bytes() == b"secret"

    (tmp_path / "map.csv.tmp").symlink_to(victim)
    write_text(tmp_path / "map.csv", "public")
    assert victim.read_text() == "mine"
    assert (tmp_path / "map.csv").read_text() == "public"


def test_a_private_file_is_its_owners_alone_whatever_was_there(tmp_path: Path) -> None:
    for name in ("map.csv", "map.csv.tmp"):
        (tmp_path / name).write_text("planted")
        (tmp_path / name).chmod(0o666)
    with private_file(tmp_path / "map.csv") as file:
        file.write(b"secret")
    assert stat.S_IMODE((tmp_path / "map.csv").stat().st_mode) == 0o600


def test_a_private_file_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(TypeError), private_file(tmp_path / "map.csv") as file:
        file.writelines([b"half", "and no bytes"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_folder_that_others_may_write_to_is_not_private(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "private"
    check_private(folder)  # it will be made
    folder.mkdir()
    folder.chmod(0o755)
    check_private(folder)
    folder.chmod(mode)
    with pytest.raises(InputError, match=f"mode {mode:03o}.*chmod go-w {folder}"):
        check_private(folder)
