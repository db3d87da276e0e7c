"""`bsou pack` with all its arguments: as one process, as shares, and as jobs run here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import bsou_dist.cluster.submit as submit_module
import bsou_dist.packing.reject_limit as rejects_module
from bsou_dist.cli import main
from bsou_dist.shards.manifest import read_manifest
from bsou_dist.shards.pseudonyms import Pseudonymizer, load_key

SETTINGS = ["prepare.size_px=48", "shard_clips=16"]


@pytest.fixture(scope="module")
def whole(few_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shard folder, packed by one command."""
    out = tmp_path_factory.mktemp("whole") / "shards"
    assert main(["pack", str(few_clips), str(out), *SETTINGS, "--workers", "1"]) == 0
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A shard folder to be, with the pseudonym key of `whole`."""
    (tmp_path / "shards.private").mkdir()
    shutil.copy(whole.with_name("shards.private") / "pseudonym.key", tmp_path / "shards.private")
    return tmp_path / "shards"


def same(out: Path, whole: Path) -> bool:
    names = sorted(path.name for path in whole.iterdir())
    return names == sorted(path.name for path in out.iterdir()) and all(
        (out / name).read_bytes() == (whole / name).read_bytes() for name in names
    )


def in_packing_order(table: Path, out: Path) -> pd.DataFrame:
    """The rows of a cohort table as they are packed, with their line."""
    pseudonyms = Pseudonymizer(load_key(out.with_name(f"{out.name}.private") / "pseudonym.key"))
    clips = pd.read_csv(table)
    return clips.assign(
        line=range(2, len(clips) + 2),
        patient=clips["patient_id"].map(pseudonyms.patient),
        study=clips["study_id"].map(pseudonyms.study),
    ).sort_values(["patient", "study"], kind="stable", ignore_index=True)


def test_jobs_run_here_pack_the_same_bytes(
    few_clips: Path, whole: Path, out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "pack",
                str(few_clips),
                str(out),
                *SETTINGS,
                "--executor=local",
                "--array=2",
                "--workers=1",
            ]
        )
        == 0
    )
    assert same(out, whole)
    said = capfd.readouterr()
    for title in ("pack 1/2: bsou pack", "pack 2/2: bsou pack", "pack-finish: bsou pack"):
        assert title in said.err
    assert "48 clips" in said.out


def test_shares_by_hand_pack_the_same_bytes_and_read_the_table_once(
    few_clips: Path, whole: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "cohort.csv"
    shutil.copy(few_clips, table)
    command = [
        "pack",
        str(table),
        str(out),
        *SETTINGS,
        "--root",
        str(few_clips.parent),
        "--workers",
        "1",
    ]
    assert main([*command, "--share", "1/2"]) == 2, "not begun"
    assert main([*command, "--begin"]) == 0
    assert "is begun: 3 shards to pack; go on with --share 1/N to N/N" in capsys.readouterr().out
    table.rename(tmp_path / "away.csv")
    assert main([*command, "--share", "2/2"]) == 0
    assert "share 2/2 is packed: 1 shard of 3; " in capsys.readouterr().out
    assert main([*command, "--share", "1/2"]) == 0
    (tmp_path / "away.csv").rename(table)
    assert main(command) == 0
    assert same(out, whole)
    capsys.readouterr()
    for again in ("--share=1/2", "--begin"):
        assert main([*command, again]) == 0, "finished: nothing to do"
        assert capsys.readouterr().out.startswith("48 clips")


def test_a_file_that_goes_away_later_is_a_reject_and_a_changed_table_is_refused(
    few_clips: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(few_clips.parent, tmp_path / "cohort")
    table = tmp_path / "cohort/cohort.csv"
    command = ["pack", str(table), str(out), *SETTINGS, "--workers", "1"]
    assert main([*command, "--begin"]) == 0
    assert main([*command, "--share", "3/3"]) == 0
    clips, text = in_packing_order(table, out), table.read_text()
    table.write_text(text.replace(clips["device"][0], "Another"))
    assert main(command) == 2
    assert "was packed differently: cohort was" in capsys.readouterr().err
    table.write_text(text)
    (table.parent / clips["path"][5]).unlink()
    assert main(command) == 0
    assert len(read_manifest(out)) == 47


def test_an_estimate_leaves_nothing_behind(
    few_clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep/shards"
    assert main(["pack", str(few_clips), str(out), *SETTINGS, "--estimate", "--workers", "1"]) == 0
    assert "estimate for 48 clips, from 20 of them" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    jobs = ["--executor", "slurm", "--array", "64", "--cpus-per-task", "3", "--estimate"]
    assert main(["pack", str(few_clips), str(out), *SETTINGS, *jobs]) == 0
    assert "with 9 processes" in capsys.readouterr().out, "there are 3 shards"


def test_what_slurm_did_not_take_can_be_packed_otherwise(
    few_clips: Path,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, script in (
        ("sinfo", ""),
        ("srun", ""),
        ("sbatch", "echo 'sbatch: error: invalid account' >&2; exit 1"),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    command = ["pack", str(few_clips), str(out), "prepare.size_px=48", "--workers=1"]
    assert main([*command, "--executor=slurm"]) == 2
    assert (
        "SLURM refuses the job pack: invalid account; mend its options" in capsys.readouterr().err
    )
    assert not (tmp_path / "shards.slurm").exists()
    assert main([*command, "shard_clips=16"]) == 0
    (tools / "sinfo").write_text(
        "#!/bin/sh\necho 'sinfo: error: nothing\nsinfo: fatal: no answer' >&2; exit 1\n"
    )
    assert main([*command[:2], str(tmp_path / "other"), "--executor=slurm"]) == 2
    assert "SLURM cannot be reached from this machine (fatal: no answer)" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "other.private").exists()


@pytest.mark.parametrize("option", ["--estimate", "--begin", "--share=1/1", None])
def test_shards_whose_key_is_away_get_no_new_one(
    few_clips: Path,
    whole: Path,
    tmp_path: Path,
    option: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "shards"))
    assert (
        main(
            [
                "pack",
                str(few_clips),
                str(out),
                *SETTINGS,
                "--workers=1",
                *([option] if option else []),
            ]
        )
        == 2
    )
    assert (
        f"{tmp_path}/shards.private/pseudonym.key is missing; restore it" in capsys.readouterr().err
    )
    assert not (tmp_path / "shards.private").exists()


def test_too_many_rejects_end_with_code_1_and_a_higher_limit_goes_on(
    few_clips: Path,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(rejects_module, "_JUDGED_CLIPS", 10)
    shutil.copytree(few_clips.parent, tmp_path / "cohort")
    clips = in_packing_order(few_clips, out)
    for path in clips["path"][20:30]:
        (tmp_path / "cohort" / path).write_bytes(b"")
    command = [
        "pack",
        str(tmp_path / "cohort/cohort.csv"),
        str(out),
        *SETTINGS,
        "--workers",
        "1",
        "--max-rejects",
    ]
    assert main([*command, "0.1"]) == 1
    assert (
        f"unreadable, for example line {clips['line'][22]} of the cohort: unreadable: empty file"
        in capsys.readouterr().err
    )
    assert main([*command, "0.9"]) == 0
    assert len(read_manifest(out)) == 38


def test_a_dry_run_prints_both_scripts_and_begins_nothing(
    few_clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    assert (
        main(
            [
                "pack",
                str(few_clips),
                str(out),
                *SETTINGS,
                "--executor=slurm",
                "--array=64",
                "--cpus-per-task=8",
                "--mem=16G",
                "--time=2:00:00",
                "--dry-run",
            ]
        )
        == 0
    )
    array, finish = capsys.readouterr().out.split("#!/bin/bash\n")[1:]
    assert "#SBATCH --array=0-63%64\n" in array
    for line in ("cpus-per-task=8", "mem=16G", "time=2:00:00", "nodes=1", "ntasks-per-node=1"):
        assert f"#SBATCH --{line}\n" in array
        assert f"#SBATCH --{line}\n" in finish
    assert "gpus" not in array
    assert "#SBATCH --dependency='afterok:<id of pack>'\n" in finish
    assert "array" not in finish
    assert f"{tmp_path}/shards.slurm/DATE" in array
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--share", "3/2"], "'3/2' is no share"),
        (["--share", "0/2"], "'0/2' is no share"),
        (["--share", "half"], "'half' is no share"),
        (["--max-rejects", "50"], "'50' is not a number from 0 to 1"),
        (["--seconds-per-clip", "0"], "'0' is not a number above 0"),
        (["--array", "4"], "--array is for jobs"),
        (["--time", "60"], "--time is for jobs"),
        (["--follow"], "--follow is for jobs"),
        (["--executor=local", "--dry-run"], "--dry-run is for --executor slurm"),
        (
            ["--executor=local", "--share=1/2"],
            "--share and --begin are what --executor does itself",
        ),
        (["--executor=slurm", "--time=soon"], "'soon' is not a time limit"),
        (["--executor=slurm", "--env=A"], "--env is 'A'; write it as NAME=VALUE"),
        (["--executor=slurm", "--nodes=2"], "unrecognized arguments: --nodes=2"),
        (["--executor=slurm"], "this machine has no SLURM"),
        (["--private", "OUT/private"], "lies inside the shard folder"),
    ],
)
def test_a_mistake_is_told_before_anything_is_begun(
    few_clips: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submit_module.shutil, "which", lambda name: None)
    out = tmp_path / "shards"
    arguments = [text.replace("OUT", str(out)) for text in arguments]
    try:
        code = main(["pack", str(few_clips), str(out), *SETTINGS, *arguments])
    except SystemExit as left:
        code = left.code  # type: ignore[assignment]
    assert code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


SLOW = """
import sys, time
from bsou_dist.cli import main
from bsou_dist.shards.shard_file import ShardWriter

def slow(*args):
    time.sleep(0.05)
    return add(*args)

add, ShardWriter.add = ShardWriter.add, slow
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR2, 75), (signal.SIGINT, 130)]
)
def test_a_packer_that_is_told_to_stop_leaves_whole_shards_and_goes_on(
    few_clips: Path, whole: Path, out: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    command = ["pack", str(few_clips), str(out), *SETTINGS, "--workers", "1"]
    words = [sys.executable, tmp_path / "slow.py", *command]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 600
        while not (out / "000000.tar").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(number)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    assert "the same command goes on after the last whole shard" in errors
    left = {path.name for path in out.iterdir()}
    assert left <= {
        ".parts",
        *(f"{shard:06d}.{kind}" for shard in range(2) for kind in ("tar", "idx")),
    }
    assert main(command) == 0
    assert same(out, whole)
