"""What `bsou inspect --privacy` says of the words in shards; that it claims nothing more."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bsou_dist.inspection.privacy_words import inspect_privacy

Packed = tuple[Path, Path]


def test_shards_as_packed_have_no_finding(folders: Packed) -> None:
    report = inspect_privacy(*folders)
    assert report.findings == ()
    assert report.words["device"] == ["Acme One", "Bolt Mini"]
    assert report.words["site"] == ["N"]
    assert report.words["bmi, kg/m2"] == ["24.5"]
    assert {"codec", "key", "mm_per_px"} <= set(report.words["JSON fields"])
    assert "beside what only you can judge" in str(report)


def _rewritten(shards: Path, change: Callable[[tarfile.TarInfo, bytes], bytes]) -> None:
    """The first shard again with members changed."""
    buffer = io.BytesIO()
    path = shards / "000000.tar"
    with (
        tarfile.open(path) as old,
        tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            data = change(member, file.read())
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    path.write_bytes(buffer.getvalue())


def _owner(member: tarfile.TarInfo, data: bytes) -> bytes:
    member.uname = "musterfrau"
    return data


def _comment(member: tarfile.TarInfo, data: bytes) -> bytes:
    if member.name.endswith(".json"):
        return data
    return b"\xff\xd8\xff\xfe\x00\x0cMUSTERFRAU" + data[2:]


def _headers(member: tarfile.TarInfo, data: bytes) -> bytes:
    member.pax_headers = {"comment": "MUSTERFRAU"}
    return data


def _field(member: tarfile.TarInfo, data: bytes) -> bytes:
    if not member.name.endswith(".json"):
        return data
    return json.dumps({**json.loads(data), "PatientName": "MUSTERFRAU^ERIKA"}).encode()


def _field_name(member: tarfile.TarInfo, data: bytes) -> bytes:
    if not member.name.endswith(".json"):
        return data
    return json.dumps({**json.loads(data), "MUSTERFRAU^E": 1}).encode()


def _key(member: tarfile.TarInfo, data: bytes) -> bytes:
    if not member.name.endswith(".json"):
        return data
    return json.dumps({**json.loads(data), "key": "MUSTERFRAU"}).encode()


def _text(member: tarfile.TarInfo, data: bytes) -> bytes:
    return b"ERIKA MUSTERFRAU" if member.name.endswith(".json") else data


def _renamed(member: tarfile.TarInfo, data: bytes) -> bytes:
    member.name = member.name.replace(member.name.split("-")[0], "MUSTERFRAU")
    return data


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (_owner, "tells who packed it"),
        (_comment, "notes beside the picture: comment"),
        (_key, "has a key of another form"),
        (_headers, "additional tar headers"),
        (_field, "PatientName holds"),
        (_field_name, "holds a long number"),
        (_text, "is not JSON"),
        (_renamed, "not one of the manifest's clips"),
    ],
)
def test_a_leak_in_a_shard_is_found(
    folders: Packed, change: Callable[[tarfile.TarInfo, bytes], bytes], finding: str
) -> None:
    _rewritten(folders[0], change)
    report = inspect_privacy(*folders)
    assert any(finding in found for found in report.findings), report.findings
    assert all(found.startswith("000000.tar") for found in report.findings)
    assert "ERIKA" not in str(report)  # told without being repeated


def test_a_shard_that_is_no_tar_file_is_found(folders: Packed) -> None:
    (folders[0] / "000000.tar").write_text("ERIKA MUSTERFRAU\n" * 100)
    findings = inspect_privacy(*folders).findings
    assert any("000000.tar: not a whole tar file" in finding for finding in findings)


def _change_column(shards: Path, column: str, value: str) -> None:
    table = pq.read_table(shards / "manifest.parquet")
    place = table.schema.get_field_index(column)
    values = [value, *table.column(column).to_pylist()[1:]]
    changed = table.set_column(place, table.schema.field(column), [values])
    pq.write_table(changed, shards / "manifest.parquet")


@pytest.mark.parametrize(
    ("column", "value", "finding"),
    [
        ("patient", "MUSTERFRAU-0000", "column patient holds other things than pseudonyms"),
        ("key", "MUSTERFRAU-M-0", "column key holds other things"),
        ("site", "born 19880312", "site holds a long number"),
        ("device", "/home/musterfrau", "device holds a long number"),
        (
            "operator",
            "Dr Musterfrau of the ward for women in the north",
            "operator holds a text of 48 characters",
        ),
    ],
)
def test_a_leak_in_the_manifest_is_found(
    folders: Packed, column: str, value: str, finding: str
) -> None:
    _change_column(folders[0], column, value)
    assert any(finding in found for found in inspect_privacy(*folders).findings)


def test_what_does_not_belong_to_the_folder_is_found(folders: Packed) -> None:
    shards, private = folders
    shutil.copy(private / "pseudonym.key", shards)
    (shards / "MUSTERFRAU.txt").touch()
    (shards / "link").symlink_to(private)
    (shards / "000000.idx").rename(private / "000000.idx")
    (shards / "000000.idx").symlink_to(private / "000000.idx")
    summary = json.loads((shards / "shards.json").read_text())
    summary["recipe"]["config"]["root"] = "/clinic/MUSTERFRAU"
    (shards / "shards.json").write_text(json.dumps(summary))
    table = pq.read_table(shards / "manifest.parquet")
    pq.write_table(table.replace_schema_metadata({"by": "MUSTERFRAU"}), shards / "manifest.parquet")
    (private / "keymap.parquet").chmod(0o644)
    found = "\n".join(inspect_privacy(shards, private).findings)
    for text in (
        "pseudonym.key: whoever has this",
        "MUSTERFRAU.txt: no part",
        "link: no part",
        "000000.idx: no part",
        "shards.json: recipe config root holds",
        "notes in its metadata",
        "mode 644",
    ):
        assert text in found
    inside = shards / "private"
    private.rename(inside)
    assert "inside the shard folder" in "\n".join(inspect_privacy(shards, inside).findings)
