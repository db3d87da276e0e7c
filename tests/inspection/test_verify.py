from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bsou_dist.inspection.verify import verify
from bsou_dist.shards.manifest import manifest_of, read_manifest, read_member, write_manifest

Packed = tuple[Path, Path]


def test_a_sound_folder_has_no_faults(packed: Packed) -> None:
    report = verify(packed[0], progress=False)
    assert (report.clips, report.faults) == (10, ())
    assert report.bytes == read_manifest(packed[0])["size"].sum()


def _overwrite(shard: Path, offset: int, data: bytes) -> None:
    with shard.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _flip_a_byte(folder: Path, row: pd.Series) -> None:
    _overwrite(folder / row["shard"], row["offset"] + row["size"] // 2, b"\x55\xaa")


def _change_the_record(folder: Path, row: pd.Series) -> None:
    record, _ = read_member(folder, row)
    text = json.dumps({**record, "sweep": "R"}, separators=(",", ":"), sort_keys=True).encode()
    _overwrite(folder / row["shard"], row["json_offset"], text[: row["json_size"]])


def _cut_the_shard(folder: Path, row: pd.Series) -> None:
    with (folder / row["shard"]).open("r+b") as file:
        file.truncate(row["offset"] + 10)


def _swap_sums(folder: Path, row: pd.Series) -> None:
    """A clip whose bytes are not pictures, with the sum that fits."""
    data = bytes(row["size"])
    _overwrite(folder / row["shard"], row["offset"], data)
    manifest = read_manifest(folder)
    manifest.loc[manifest["key"] == row["key"], "sha256"] = hashlib.sha256(data).hexdigest()
    _write_rows(manifest, folder)


def _drop_a_row(folder: Path, row: pd.Series) -> None:
    manifest = read_manifest(folder)
    kept = manifest[manifest["key"] != row["key"]]
    _write_rows(kept, folder)


def _write_rows(manifest: pd.DataFrame, folder: Path) -> None:
    with_nones = manifest.astype(object).where(manifest.notna(), None)
    write_manifest(manifest_of(with_nones.to_dict("records")), folder)


def _remove_the_shard(folder: Path, row: pd.Series) -> None:
    (folder / row["shard"]).unlink()


def _remove_the_index(folder: Path, row: pd.Series) -> None:
    (folder / row["shard"]).with_suffix(".idx").unlink()


def _add_a_shard(folder: Path, row: pd.Series) -> None:
    shutil.copy(folder / row["shard"], folder / "000009.tar")


@pytest.mark.parametrize(
    ("harm", "reasons"),
    [
        (_flip_a_byte, {"its bytes do not have the sha256 of the manifest"}),
        (_change_the_record, {"its record has sweep 'R', the manifest 'M'"}),
        (_cut_the_shard, {"not a whole tar file (ReadError)", "000001.tar ends "}),
        (_swap_sums, {"frame 0 of 6 is not a JPEG picture"}),
        (
            _drop_a_row,
            {
                "counts 10 clips, the manifest has 9",
                "counts 60 frames, the manifest has 54",
                "counts ",
                "its members are not those of the manifest",
                "missing or not the index of its shard",
            },
        ),
        (_remove_the_shard, {"missing, with 4 clips"}),
        (_remove_the_index, {"missing or not the index"}),
        (_add_a_shard, {"not in the manifest"}),
    ],
)
def test_every_kind_of_fault_is_found(
    packed: Packed, tmp_path: Path, harm: Callable[[Path, pd.Series], object], reasons: set[str]
) -> None:
    folder = tmp_path / "shards"
    shutil.copytree(packed[0], folder)
    row = read_manifest(folder).loc[6]
    assert row["sweep"] == "M"
    harm(folder, row)
    faults = verify(folder, progress=False).faults
    for reason in reasons:
        assert any(fault.reason.startswith(reason) for fault in faults), (reason, faults)
    for fault in faults:
        assert any(fault.reason.startswith(reason) for reason in reasons), fault
    assert all(fault.shard in str(fault) for fault in faults)
