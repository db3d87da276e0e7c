"""Shards by somebody of ill will: each tool names what is wrong and goes on with the rest."""

from __future__ import annotations

import json
import resource
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_shards import HOSTILE_CLIPS, HOSTILE_ROWS, HUGE, spoil, spoil_clip, spoil_row

from bsou_dist.cli import main
from bsou_dist.inspection.privacy_sheet import privacy_sheet
from bsou_dist.inspection.privacy_words import inspect_privacy
from bsou_dist.inspection.verify import verify
from bsou_dist.shards.manifest import read_manifest

Packed = tuple[Path, Path]

SPOILT = 6


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """What takes memory for a claim fails at once, instead of slowing the machine down."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used_kb = int(Path("/proc/self/statm").read_text().split()[0]) * (
        resource.getpagesize() // 1024
    )
    resource.setrlimit(resource.RLIMIT_AS, ((used_kb << 10) + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("kind", [*HOSTILE_CLIPS, *HOSTILE_ROWS])
def test_a_hostile_clip_is_named_and_the_others_are_looked_at(
    folders: Packed, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    key = spoil(folders[0], SPOILT, kind)
    report = verify(folders[0], progress=False)
    about_clips = {fault.key for fault in report.faults if fault.key}
    assert about_clips == {key}
    assert max(len(line) for line in str(report).splitlines()) < 700

    sheet = str(tmp_path / "sheet.png")
    code = main(["inspect", str(folders[0]), "--sheet", sheet])
    said = capsys.readouterr()
    assert f"{key} cannot be drawn" in said.err
    assert "10 clips of" in said.out
    assert code == 1

    inspect_privacy(*folders)
    looked_at = dict(privacy_sheet(folders[0], Path(sheet), clips=10, tile_px=32))
    assert len(looked_at) == 10
    assert looked_at[key] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "not as 'bsou pack' writes it"),
        ("[" * 100_000, "not JSON"),
        ('{"format_version": 2}', "recipe: Field required"),
        ('{"format_version": 2, "recipe": 3, "counts": []}', "recipe: "),
        (None, "counts.frames: Input should be"),
    ],
)
def test_a_malformed_summary_is_named_and_the_clips_are_looked_at(
    folders: Packed,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
    said: str,
) -> None:
    path = folders[0] / "shards.json"
    if text is None:
        summary = json.loads(path.read_text())
        summary["counts"]["frames"] = "sixty"
        text = json.dumps(summary)
    path.write_text(text)
    report = verify(folders[0], progress=False)
    assert [fault.shard for fault in report.faults] == ["shards.json"]
    assert said in report.faults[0].reason
    assert report.clips == 10

    assert main(["inspect", str(folders[0]), "--sheet", str(tmp_path / "sheet.png")]) == 1
    assert f"cannot be told: {folders[0]}" in capsys.readouterr().out
    assert any(said in finding for finding in inspect_privacy(*folders).findings)


def test_a_member_that_claims_2_to_the_62_bytes_is_not_believed(folders: Packed) -> None:
    """As the name of a member, which Python's reader takes memory for."""
    shard = folders[0] / "000001.tar"
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = HUGE
    header = info.tobuf(tarfile.GNU_FORMAT)
    shard.write_bytes(header + shard.read_bytes())
    faults = [str(fault) for fault in verify(folders[0], progress=False).faults]
    assert "000001.tar: not a whole tar file (ReadError)" in faults
    findings = inspect_privacy(*folders).findings
    assert "000001.tar: not a whole tar file (ReadError)" in findings


def test_what_a_terminal_would_obey_is_shown_as_text(folders: Packed) -> None:
    spoil_clip(folders[0], SPOILT, lambda record, data: ({**record, "sweep": "\x1b[2J" * 99}, data))
    report = str(verify(folders[0], progress=False))
    assert "\x1b" not in report
    assert "\\x1b[2J" in report


def test_a_clip_that_claims_another_clips_bytes_is_named(folders: Packed) -> None:
    rows = read_manifest(folders[0])
    other = rows.loc[5, ["json_offset", "json_size", "offset", "size"]]
    key = spoil_row(folders[0], SPOILT, dict(other))
    faults = [fault for fault in verify(folders[0], progress=False).faults if fault.key]
    assert [fault.key for fault in faults] == [key]
    assert faults[0].reason == f"its record has key {rows.loc[5, 'key']!r}, the manifest {key!r}"
