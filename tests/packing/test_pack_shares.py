"""Several processes share the work: the same bytes, whatever happens to each, and nothing missing
or twice.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fan_clips import folder_bytes
from packed_cohort import quiet_packer

import bsou_dist.packing.encode_clip as encode_module
from bsou_dist.cohort.table import Cohort
from bsou_dist.common.errors import InputError
from bsou_dist.inspection.verify import verify
from bsou_dist.packing.folder import PackFailed
from bsou_dist.packing.pack import KEY_NAME, PackConfig, Packer
from bsou_dist.packing.plan import ALL_SHARDS, Share
from bsou_dist.packing.shard_record import ShardRecord
from bsou_dist.prepare.prepare_clip import prepare

TableAndRoot = tuple[pd.DataFrame, Path]
Packed = tuple[Path, Path]


@pytest.fixture
def begun(cohort: TableAndRoot, packed: Packed, config: PackConfig, tmp_path: Path) -> Packer:
    """Three shards to pack, with the pseudonym key of `packed`."""
    private = tmp_path / "private"
    private.mkdir()
    shutil.copy(packed[1] / KEY_NAME, private / KEY_NAME)
    packer = quiet_packer(tmp_path / "out", private, config)
    packer.make_plan(Cohort(*cohort))
    packer.begin()
    return packer


def again(begun: Packer) -> Packer:
    """A packer of another process, which goes on with what was begun."""
    packer = quiet_packer(begun.out, begun.private.path, begun.config)
    packer.resume()
    assert packer.summary is None
    return packer


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
def test_shares_in_any_order_make_the_same_bytes(
    begun: Packer, packed: Packed, order: tuple[int, ...]
) -> None:
    for number in order:
        again(begun).pack_share(Share(number, 3))
    again(begun).finish()
    assert folder_bytes(begun.folder.path) == folder_bytes(packed[0])
    for name in ("keymap.parquet", "rejects.csv"):
        assert (begun.private.path / name).read_bytes() == (packed[1] / name).read_bytes()
    assert not (begun.private.path / "plan.parquet").exists()


def test_more_shares_than_shards_leave_some_with_nothing_to_do(
    begun: Packer, packed: Packed
) -> None:
    for number in range(1, 6):
        again(begun).pack_share(Share(number, 5))
    again(begun).finish()
    assert folder_bytes(begun.folder.path) == folder_bytes(packed[0])


KILLED = """
import os, signal, sys
from pathlib import Path
import bsou_dist.packing.encode_clip as module
from bsou_dist.packing.pack import PackConfig, Packer
from bsou_dist.packing.plan import Share

def shoot(*args, seen=[]):
    seen.append(args)
    if len(seen) == 5:  # the first clip of the second shard of this share
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(*args)

prepare, module.prepare = module.prepare, shoot
out, private, config = sys.argv[1:]
config = PackConfig.model_validate_json(config)
packer = Packer(Path(out), private=Path(private), config=config, workers=0, progress=False)
packer.resume()
packer.pack_share(Share(1, 2))
"""


def test_a_killed_share_goes_on_after_its_last_whole_shard(
    begun: Packer, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED,
            str(begun.folder.path),
            str(begun.private.path),
            begun.config.model_dump_json(),
        ],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    prepared = []
    monkeypatch.setattr(
        encode_module, "prepare", lambda *args: prepared.append(args) or prepare(*args)
    )
    again(begun).pack_share(Share(1, 2))
    assert len(prepared) == 2, "shard 2 of 0 and 2"
    with pytest.raises(PackFailed, match=r"shard 000001: 000001.json is missing"):
        again(begun).finish()
    again(begun).pack_share(Share(2, 2))
    again(begun).finish()
    assert folder_bytes(begun.folder.path) == folder_bytes(packed[0])


def record_path(begun: Packer, number: int) -> Path:
    return begun.folder.path / ".parts" / f"{number:06d}.json"


def edit(begun: Packer, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(record_path(begun, 1).read_text())
    change(content)
    record_path(begun, 1).write_text(json.dumps(content))


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(10240))


DAMAGE: dict[str, tuple[Callable[[Packer], object], str]] = {
    "no record": (lambda begun: record_path(begun, 1).unlink(), "000001.json is missing"),
    "half a record": (
        lambda begun: record_path(begun, 1).write_text(record_path(begun, 1).read_text()[:500]),
        "cannot be read",
    ),
    "another kind of record": (
        lambda begun: record_path(begun, 1).write_text('{"rows": 3}'),
        "cannot be read",
    ),
    "a clip twice": (
        lambda begun: edit(begun, lambda it: it["rows"].append(it["rows"][0])),
        "1 are there twice",
    ),
    "a clip packed and rejected": (
        lambda begun: edit(begun, lambda it: it["rejects"].update({it["rows"][2]["clip"]: "x"})),
        "1 are there twice",
    ),
    "a clip missing": (
        lambda begun: edit(begun, lambda it: it["rows"].pop()),
        "1 of its 4 clips are missing",
    ),
    "clips of another shard": (
        lambda begun: shutil.copy(record_path(begun, 0), record_path(begun, 1)),
        "4 are not of it",
    ),
    "a key twice": (
        lambda begun: edit(begun, lambda it: it["rows"][1].update(key=it["rows"][0]["key"])),
        "its keys",
    ),
    "no shard": (
        lambda begun: (begun.folder.path / "000001.tar").unlink(),
        "000001.tar is missing",
    ),
    "no index": (
        lambda begun: (begun.folder.path / "000001.idx").unlink(),
        "000001.idx is missing",
    ),
    "index of another shard": (
        lambda begun: shutil.copy(
            begun.folder.path / "000000.idx", begun.folder.path / "000001.idx"
        ),
        "not the index",
    ),
    "a shard too long": (lambda begun: grow(begun.folder.path / "000001.tar"), "bytes of"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_merging_finds_what_is_missing_or_twice_and_packing_again_mends_it(
    begun: Packer, packed: Packed, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begun.pack_share(ALL_SHARDS)
    do, fault = DAMAGE[damage]
    do(begun)
    with pytest.raises(PackFailed, match=rf"(?s)is not whole.*shard 000001: .*{fault}") as raised:
        again(begun).finish()
    assert len(str(raised.value).splitlines()) == 2, "of one shard"
    assert not (begun.folder.path / "shards.json").exists()
    again(begun).pack_share(ALL_SHARDS)
    assert ("shard 000001 is packed again" in capsys.readouterr().err) == (damage != "no record")
    again(begun).finish()
    assert folder_bytes(begun.folder.path) == folder_bytes(packed[0])
    assert not verify(begun.folder.path, progress=False).faults


def test_a_shard_that_two_processes_want_is_packed_by_one(begun: Packer, packed: Packed) -> None:
    with begun.folder.claimed(1):
        again(begun).pack_share(Share(1, 3))
        with pytest.raises(
            InputError, match=r"another process is packing into .* \(shard 000001\)"
        ):
            again(begun).pack_share(Share(2, 3))
    again(begun).pack_share(ALL_SHARDS)
    again(begun).finish()
    assert folder_bytes(begun.folder.path) == folder_bytes(packed[0])


def test_a_shard_that_another_process_has_packed_meanwhile_is_left(
    begun: Packer, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, written, tar = [], [], begun.folder.path / "000001.tar"

    def while_another_packs(*args: object) -> object:
        prepared.append(args)
        if len(prepared) == 1:
            again(begun).pack_share(Share(2, 3))
            written.append(tar.stat().st_mtime_ns)
        return prepare(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(encode_module, "prepare", while_another_packs)
    again(begun).pack_share(ALL_SHARDS)
    assert written == [tar.stat().st_mtime_ns]
    again(begun).finish()
    assert folder_bytes(begun.folder.path) == folder_bytes(packed[0])


def test_nothing_is_claimed_in_a_folder_that_another_process_has_finished(
    begun: Packer, packed: Packed
) -> None:
    again(begun).pack_share(ALL_SHARDS)
    again(begun).finish()
    with (
        pytest.raises(InputError, match="was finished, abandoned or removed"),
        begun.folder.claimed(1),
    ):
        pass
    assert folder_bytes(begun.folder.path) == folder_bytes(packed[0]), "no new folder of records"


def test_what_was_begun_and_holds_no_shard_may_be_begun_anew(
    begun: Packer, config: PackConfig, cohort: TableAndRoot
) -> None:
    def plan(codec: str) -> Packer:
        other = config.model_copy(update={"codec": codec})
        packer = quiet_packer(begun.out, begun.private.path, other)
        packer.make_plan(Cohort(*cohort))
        return packer

    h264 = plan("h264")
    h264.begin()
    with pytest.raises(InputError, match=r"config.codec was 'h264' and is now 'jpeg'"):
        begun.pack_share(ALL_SHARDS)
    with h264.folder.claimed(0):
        plan("jpeg").begin()
        with pytest.raises(InputError, match=r"config.codec was 'jpeg' and is now 'h264'"):
            h264.folder.write_record(0, ShardRecord())
    again(begun).pack_share(Share(1, 3))
    with pytest.raises(InputError, match=r"config.codec was 'jpeg' and is now 'h264'"):
        plan("h264")


def test_a_share_takes_the_plan_and_not_another_one(
    begun: Packer, config: PackConfig, cohort: TableAndRoot, tmp_path: Path
) -> None:
    other = config.model_copy(update={"codec": "h264"})
    with pytest.raises(InputError, match=r"config.codec was 'jpeg' and is now 'h264'"):
        quiet_packer(begun.out, begun.private.path, other).resume()
    with pytest.raises(InputError, match=r"is not begun.*--begin"):
        quiet_packer(tmp_path / "elsewhere", begun.private.path, config).resume()
    fewer = quiet_packer(tmp_path / "other", begun.private.path, config)
    fewer.make_plan(Cohort(cohort[0].head(4), cohort[1]))
    fewer.begin()
    with pytest.raises(InputError, match=r"plan.parquet is the plan of other shards"):
        again(begun)
    begun.private.forget_plan()
    with pytest.raises(InputError, match=r"plan.parquet is missing"):
        again(begun)
    (begun.private.path / KEY_NAME).write_text("00" * 32)
    with pytest.raises(InputError, match="pseudonym_key was"):
        again(begun)


def test_of_a_finished_folder_a_share_has_nothing_to_do(packed: Packed, config: PackConfig) -> None:
    packer = quiet_packer(packed[0], packed[1], config)
    packer.resume()
    assert packer.summary is not None


def test_shards_of_rejects_alone_leave_no_file_of_an_earlier_run(
    cohort: TableAndRoot, config: PackConfig, tmp_path: Path
) -> None:
    root = tmp_path / "cohort"
    shutil.copytree(cohort[1], root)
    packer = quiet_packer(tmp_path / "out", tmp_path / "private", config)
    packer.make_plan(Cohort(cohort[0], root))
    packer.begin()
    packer.pack_share(Share(1, 3))
    record_path(packer, 0).unlink()
    for path in cohort[0]["path"][:4]:
        (root / path).unlink()
    quiet_packer(tmp_path / "out", tmp_path / "private", config).run(Cohort(cohort[0], root))
    assert not verify(tmp_path / "out", progress=False).faults
