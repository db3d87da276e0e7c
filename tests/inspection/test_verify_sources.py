"""Clips whose source an earlier version packed, and that would be rejected now."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import pandas as pd
import pytest

from bsou_dist.cli import main
from bsou_dist.packing.private_folder import KEYMAP_NAME

Packed = tuple[Path, Path]
SHORT_META_IMAGE = (
    b"ObjectType = Image\nNDims = 3\nDimSize = 112 96 12\nElementType = MET_UCHAR\n"
    b"CompressedData = True\nElementDataFile = LOCAL\n" + zlib.compress(bytes(112 * 96 * 7))
)


@pytest.fixture
def sources(cohort: tuple[pd.DataFrame, Path], tmp_path: Path) -> Path:
    """A copy of the folder that the clips were packed from, to be spoilt."""
    return Path(shutil.copytree(cohort[1], tmp_path / "sources"))


def test_sound_sources_are_no_fault(
    packed: Packed, sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards, private = map(str, packed)
    assert main(["verify", shards, "--private", private, "--sources", str(sources)]) == 0
    assert "0 of 10 clips have a source that would be rejected today" in capsys.readouterr().out


def test_a_source_that_would_be_rejected_names_its_clip(
    packed: Packed, sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keymap = pd.read_parquet(packed[1] / KEYMAP_NAME)
    short, gone = keymap.iloc[3], keymap.iloc[7]
    (sources / short["path"]).write_bytes(SHORT_META_IMAGE)
    (sources / gone["path"]).unlink()
    shards, private = map(str, packed)
    assert main(["verify", shards, "--private", private, "--sources", str(sources)]) == 1
    said = capsys.readouterr().out
    assert "10 clips" in said.splitlines()[0]
    [line] = [line for line in said.splitlines() if short["key"] in line]
    assert "would be rejected today: incomplete or damaged: 7 of 12 frames" in line
    [line] = [line for line in said.splitlines() if gone["key"] in line]
    assert "cannot be looked at (no such file)" in line
    assert "2 of 10 clips have a source that would be rejected today" in said
    assert str(short["path"]) not in said


@pytest.mark.parametrize("mistake", ["no private folder", "another root", "another key map"])
def test_mistakes_are_told(
    mistake: str,
    folders: Packed,
    sources: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shards, private = folders
    if mistake == "no private folder":
        shutil.rmtree(private)
    elif mistake == "another key map":
        pd.read_parquet(private / KEYMAP_NAME)[:5].to_parquet(private / KEYMAP_NAME)
    root = shards if mistake == "another root" else sources
    assert main(["verify", str(shards), "--sources", str(root)]) == 2
    expected = {
        "no private folder": "name the private folder of these shards with --private",
        "another root": "none of the 10 packed files is there",
        "another key map": "does not know all clips",
    }
    assert expected[mistake] in capsys.readouterr().err
