from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from famli_tables import Famli
from fan_clips import fan_frames
from PIL import Image

from bsou_dist.cli import main
from bsou_dist.cohort.table import cohort_fingerprint, read_cohort
from bsou_dist.commands.freeze_cohort import freeze_cohort
from bsou_dist.common.errors import InputError
from bsou_dist.common.exit_codes import BAD_INPUT, DONE


@pytest.fixture
def famli(tmp_path: Path) -> Famli:
    """Two visits with files, one of them unfit to be packed, a still and a clip without a file."""
    layout = Famli(tmp_path / "raw", "famli3")
    for file, visit, tag in (
        ("a.dcm", 1, "M"),
        ("b.mp4", 1, "NM"),
        ("c.dcm", 2, "C1"),
        ("gone.dcm", 2, "C2"),
        ("still.png", 2, "BPD"),
    ):
        maker = "Butterfly Network Inc" if file.endswith("mp4") else "GE Healthcare"
        layout.clip(file, visit=visit, day=f"2024010{visit}", tag=tag, maker=maker)
    layout.form(
        "FA3-025-1001-1", ega="195.25", us_lie=1, us_twin=1, sc_ht=161, sc_wt=62.3, us_dvp_ge="3.7"
    )
    layout.measured("Gestational Age", 190, study="FA3-025-1001-2")
    layout.add("spacing", file="b.mp4", SequenceOfUltrasoundRegions_PhysicalDeltaX="0.0213")
    cohort = layout.read()
    for number, path in enumerate(cohort.table["path"][:3]):
        file = layout.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        frames = fan_frames(number)
        with file.open("wb") as content:  # what a file is, is read off its content
            np.savez(content, frames=frames if number else frames[:1], mm_per_px=0.5)
    return layout


def test_a_frozen_cohort_reads_back_as_the_same(famli, tmp_path):
    out = tmp_path / "frozen"
    cohort = freeze_cohort(famli.root, out, column_map="famli3")
    assert len(cohort.table) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frozen", "raw"]
    again = read_cohort(out / "cohort.csv", root=famli.root, check_files=True)
    pd.testing.assert_frame_equal(
        again.table.drop(columns="line"), cohort.table.drop(columns="line")
    )
    version = json.loads((out / "version.json").read_text())
    assert (
        version["cohort_sha256"]
        == cohort_fingerprint(again.table)
        == cohort_fingerprint(cohort.table)
    )
    assert version["counts"] == {"patients": 1, "studies": 2, "exams": 3, "clips": 3}
    assert version["column_map"] == "famli3"
    assert list(version["sources_sha256"]) == [
        f"FAMLI3/Tabular_Data/{name}.csv"
        for name in ("famli3_it", "famli3_crf", "famli3_sr", "FAMLI3_mp4_IT")
    ]
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_the_flow_as_tables_and_picture(famli, tmp_path):
    out = tmp_path / "frozen"
    cohort = freeze_cohort(famli.root, out, column_map="famli3")
    flow = pd.read_csv(out / "flow.csv")
    assert flow.to_dict("records") == [vars(step) for step in cohort.flow]
    assert flow.set_index("reason")["clips"][
        ["as found", "still image", "file not there"]
    ].tolist() == [5, 4, 3]
    assert "| file not there | 1 | 2 | 3 | 3 | 1 |" in (out / "flow.md").read_text()
    with Image.open(out / "flow.png") as picture:
        assert picture.format == "PNG"


def test_nothing_but_the_table_itself_names_a_patient(famli, tmp_path):
    out = tmp_path / "frozen"
    freeze_cohort(famli.root, out, column_map="famli3")
    for name in ("version.json", "flow.csv", "flow.md"):
        assert "FA3-025" not in (out / name).read_text()


def test_the_same_again_is_done_and_another_version_is_refused(famli, tmp_path):
    out = tmp_path / "frozen"
    freeze_cohort(famli.root, out, column_map="famli3")
    written = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    freeze_cohort(famli.root, out, column_map="famli3")
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == written
    famli.form("FA3-025-1001-2", ega=200)
    famli.write()
    with pytest.raises(
        InputError,
        match=r"holds another version of the cohort \(it differs in the clips and their "
        r"labels, the tables\); name a new folder",
    ):
        freeze_cohort(famli.root, out, column_map="famli3")
    (tmp_path / "else").mkdir()
    with pytest.raises(InputError, match="is there and holds no frozen cohort"):
        freeze_cohort(famli.root, tmp_path / "else", column_map="famli3")


def test_nothing_is_written_into_the_corpus(famli, tmp_path, capsys):
    before = sorted(famli.root.rglob("*"))
    with pytest.raises(
        InputError, match=r"frozen lies inside the corpus .*raw, which nothing is written to"
    ):
        freeze_cohort(famli.root, famli.root / "frozen", column_map="famli3")
    for out, private in (
        (famli.root / "shards", tmp_path / "private"),
        (tmp_path / "shards", famli.root / "private"),
    ):
        assert (
            main(
                [
                    "pack",
                    str(famli.root),
                    str(out),
                    "--private",
                    str(private),
                    "--column-map=famli3",
                ]
            )
            == BAD_INPUT
        )
        assert "lies inside the corpus" in capsys.readouterr().err
    assert sorted(famli.root.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_packing_a_layout_says_what_it_leaves_out(famli, tmp_path, capsys):
    command = [
        "pack",
        str(famli.root),
        str(tmp_path / "shards"),
        "--column-map=famli3",
        "--workers=1",
        "prepare.size_px=32",
        "prepare.min_frames=2",
    ]
    for option in ("--estimate", "--begin"):
        assert main([*command, option]) == DONE
        assert (
            "note: left out before packing, of 5 clips: 1 still image, 1 file not there\n"
            in capsys.readouterr().err
        )


def test_a_bad_cohort_leaves_nothing_behind(famli, tmp_path):
    famli.form("FA3-025-1001-2", us_lie=7)
    famli.write()
    with pytest.raises(InputError, match=r"famli3_crf\.csv line 3, us_lie: "):
        freeze_cohort(famli.root, tmp_path / "frozen", column_map="famli3", strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_what_packing_rejected_is_in_the_flow_too(famli, tmp_path, capsys):
    frozen, shards = tmp_path / "frozen", tmp_path / "shards"
    command = ["cohort", "freeze", str(famli.root), str(frozen), "--column-map", "famli3"]
    assert main(command) == DONE
    said = capsys.readouterr().out
    assert "| still image |" in said
    assert "unchanged" not in said
    assert main(command) == DONE
    assert "frozen (unchanged); its clips" in capsys.readouterr().out
    assert (
        main(
            [
                "pack",
                str(frozen / "cohort.csv"),
                str(shards),
                "--root",
                str(famli.root),
                "--workers",
                "1",
                "prepare.size_px=32",
                "prepare.min_frames=2",
            ]
        )
        == DONE
    )
    assert (
        main([*command[:3], str(tmp_path / "with packing"), *command[4:], "--shards", str(shards)])
        == DONE
    )
    flow = pd.read_csv(tmp_path / "with packing" / "flow.csv")
    assert flow["reason"].tolist()[-2:] == [
        "rejected when packed: still image",
        "not among the clips that were packed",
    ]
    assert flow["clips"].tolist()[-3:] == [3, 2, 2]
    assert main([*command, "--shards", str(famli.root)]) == BAD_INPUT
    assert "holds no shards" in capsys.readouterr().err


def test_shards_of_another_cohort(famli, tmp_path):
    shards = tmp_path / "shards"
    frozen = freeze_cohort(famli.root, tmp_path / "frozen", column_map="famli3")
    other = frozen.table.assign(path="other/" + frozen.table["path"])
    (famli.root / "other").symlink_to(famli.root)
    other.drop(columns="line").to_csv(tmp_path / "other.csv", index=False)
    assert (
        main(
            [
                "pack",
                str(tmp_path / "other.csv"),
                str(shards),
                "--root",
                str(famli.root),
                "--workers",
                "1",
                "prepare.size_px=32",
                "prepare.min_frames=2",
            ]
        )
        == DONE
    )
    with pytest.raises(InputError, match="no clip of the cohort was packed into"):
        freeze_cohort(famli.root, tmp_path / "again", column_map="famli3", shards=shards)


def test_a_table_of_ones_own(tmp_path):
    (tmp_path / "a.mp4").touch()
    pd.DataFrame(
        [{"patient_id": "P1", "study_id": "S1", "path": "a.mp4", "bmi": 1 / 3 + 20}]
    ).to_csv(tmp_path / "table.csv", index=False)
    cohort = freeze_cohort(tmp_path / "table.csv", tmp_path / "frozen")
    assert [step.reason for step in cohort.flow] == ["as found"]
    again = read_cohort(tmp_path / "frozen" / "cohort.csv").table
    assert cohort_fingerprint(again) == cohort_fingerprint(cohort.table)
    version = json.loads((tmp_path / "frozen" / "version.json").read_text())
    assert version["column_map"] is None
    assert list(version["sources_sha256"]) == ["table.csv"]


def test_cells_that_were_set_aside_are_listed(famli, tmp_path, capsys):
    famli.form("FA3-025-1001-2", us_lie=98, us_twin=0, ega="Mrs Name")
    famli.write()
    out = tmp_path / "frozen"
    arguments = ["cohort", "freeze", str(famli.root), str(out), "--column-map", "famli3"]
    assert main([*arguments, "--strict"]) == BAD_INPUT
    assert "famli3_crf.csv line 3, us_twin: a whole number from 1 to 5" in capsys.readouterr().err
    assert main(arguments) == DONE
    listed = pd.read_csv(out / "set_aside.csv")
    assert listed[["table", "line", "column", "resolved"]].to_numpy().tolist() == [
        ["famli3_crf.csv", 3, name, "taken as missing"] for name in ("ega", "us_lie", "us_twin")
    ]
    told = capsys.readouterr()
    assert "| famli3_crf.csv | us_lie | 1 | taken as missing |" in told.out
    assert "famli3_crf.csv, ega: 1 cell taken as missing (line 3)" in told.err
    assert "Name" not in told.out + told.err + (out / "set_aside.csv").read_text()
