"""What `bsou inspect --privacy` tells and shows; that it claims nothing more."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fan_clips import FanClip, fan_frames, printed, read_table, row
from packed_cohort import quiet_packer
from PIL import Image, ImageDraw, ImageFont

from bsou_dist.cli import main
from bsou_dist.cohort.table import Cohort
from bsou_dist.inspection.privacy_sheet import privacy_sheet
from bsou_dist.inspection.privacy_words import inspect_privacy
from bsou_dist.inspection.still_print import stillness
from bsou_dist.packing.pack import PackConfig
from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.prepare.prepare_clip import PrepareConfig
from bsou_dist.shards.manifest import read_manifest

Packed = tuple[Path, Path]
WIDTH, HEIGHT = 240, 200


@pytest.fixture
def folders(packed: Packed, tmp_path: Path) -> Packed:
    """A copy to be spoilt."""
    shutil.copytree(packed[0], tmp_path / "shards")
    shutil.copytree(packed[1], tmp_path / "shards.private")
    return tmp_path / "shards", tmp_path / "shards.private"


def test_shards_as_packed_have_no_finding(folders: Packed) -> None:
    report = inspect_privacy(*folders)
    assert report.findings == ()
    assert report.words["device"] == ["Acme One", "Bolt Mini"]
    assert report.words["site"] == ["north"]
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
    return (
        json.dumps({**json.loads(data), "MUSTERFRAU^E": 1}).encode()
        if member.name.endswith(".json")
        else data
    )


def _key(member: tarfile.TarInfo, data: bytes) -> bytes:
    return (
        json.dumps({**json.loads(data), "key": "MUSTERFRAU"}).encode()
        if member.name.endswith(".json")
        else data
    )


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
    assert any(
        "000000.tar: not a whole tar file" in found for found in inspect_privacy(*folders).findings
    )


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


def _print(frames: np.ndarray, text: str, opacity: float = 1.0) -> np.ndarray:
    picture = Image.new("L", frames.shape[:0:-1])
    ImageDraw.Draw(picture).text((90, 100), text, fill=255, font=ImageFont.load_default(size=11))
    ink = np.asarray(picture) / 255 * opacity
    return (frames * (1 - ink) + 230 * ink).astype(np.uint8)


@pytest.mark.parametrize("opacity", [1.0, 0.6])
def test_print_over_tissue_stands_out(opacity: float) -> None:
    frames = fan_frames(3, 16, HEIGHT, WIDTH)
    assert stillness(frames).suspects == ()
    name = stillness(_print(frames, "ERIKA", opacity))
    first = name.suspects[0]
    assert 96 <= first.y0 < first.y1 <= 118
    assert 86 <= first.x0 < first.x1 <= 130
    assert name.residue[first.y0 : first.y1, first.x0 : first.x1].max() == 255


def test_dark_print_stands_out_too() -> None:
    frames = np.maximum(fan_frames(3, 16, HEIGHT, WIDTH), 90)
    _, ink = printed(np.zeros_like(frames), "ERIKA", 90, 100)
    frames[:, ink] = 5
    look = stillness(frames)
    assert 95 <= look.suspects[0].y0 <= 112
    assert look.residue[ink].mean() > 120


def test_what_comes_and_goes_is_not_still() -> None:
    frames = fan_frames(3, 16, HEIGHT, WIDTH)
    frames[:4] = _print(frames[:4], "ERIKA")
    assert stillness(frames).suspects == ()


@pytest.mark.parametrize(
    "texts",
    [
        ["DOE 12:31"] * 8 + [""] * 8,
        [""] * 15 + ["DOE 12:31"],
        [f"13:05:{second:02}" for second in range(3, 67, 4)],
    ],
    ids=["in the first half", "in one frame", "a clock"],
)
def test_print_apart_from_the_tissue_is_boxed_whenever_it_shows(texts: list[str]) -> None:
    shown = [
        printed(frame[None], text, 6, 5)
        for frame, text in zip(fan_frames(3, 16, HEIGHT, WIDTH), texts, strict=True)
    ]
    left = np.any([ink for _, ink in shown], axis=0)
    for box in stillness(np.concatenate([frame for frame, _ in shown])).suspects:
        assert box.y1 <= 20  # and nothing else
        left[box.y0 : box.y1, box.x0 : box.x1] = False
    assert not left.any()


def test_the_sheet_begins_with_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [
        FanClip(row(number), fan_frames(number, 12, HEIGHT, WIDTH), mm_per_px=0.6)
        for number in range(6)
    ]
    clips[4] = FanClip(clips[4].row, _print(clips[4].frames, "ERIKA 10:42"), mm_per_px=0.6)
    table = read_table(write_phantom(clips, tmp_path / "cohort"))
    config = PackConfig(prepare=PrepareConfig(size_px=192, field_mm=120.0, max_frames=12))
    packer = quiet_packer(tmp_path / "shards", tmp_path / "shards.private", config)
    packer.run(Cohort(table, tmp_path / "cohort"))
    keys = read_manifest(tmp_path / "shards")["key"].tolist()
    sheet = tmp_path / "sheet.png"
    looked_at = privacy_sheet(tmp_path / "shards", sheet, clips=6, tile_px=128)
    assert looked_at[0] == (keys[4], 1)
    assert sorted(key for key, _ in looked_at) == sorted(keys)
    pixels = np.asarray(Image.open(sheet))
    assert pixels.shape == (16 + 6 * (128 + 16), 4 * 128, 3)
    red = (pixels[..., 0] > 200) & (pixels[..., 2] < 100)
    assert red[32:160].sum() > 3 * 60  # the box, in three tiles
    assert (tmp_path / "shards" / "sheet.png").exists() is False

    monkeypatch.chdir(tmp_path)
    assert main(["inspect", "shards", "--privacy"]) == 0
    said = capsys.readouterr().out
    assert "6 clips, the most suspicious first, 1 with boxes" in said
    assert "no program can tell that nothing is left" in said
    assert (tmp_path / "shards-privacy.png").is_file()
    (tmp_path / "shards.private").chmod(0o755)
    assert main(["inspect", "shards", "--privacy"]) == 1


def test_a_clip_that_cannot_be_decoded_is_shown_as_such(folders: Packed, tmp_path: Path) -> None:
    first = read_manifest(folders[0]).iloc[0]
    with (folders[0] / first["shard"]).open("r+b") as file:
        file.seek(first["offset"])
        file.write(bytes(first["size"]))
    assert privacy_sheet(folders[0], tmp_path / "sheet.png")[0] == (first["key"], 0)


def test_the_sheet_covers_devices_sites_and_sweeps(packed: Packed, tmp_path: Path) -> None:
    manifest = read_manifest(packed[0])
    wanted = manifest.groupby(["device", manifest["sweep"].fillna("")])["key"].first()
    keys = {
        key
        for key, _ in privacy_sheet(
            packed[0], tmp_path / "sheet.png", clips=len(wanted), tile_px=32
        )
    }
    assert isinstance(wanted, pd.Series)
    assert keys == set(wanted)
