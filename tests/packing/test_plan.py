"""What is decided before any file is opened."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fan_clips import row

import bsou_dist.packing.plan as plan_module
from bsou_dist.packing.plan import PackPlan, plan_clips
from bsou_dist.packing.private_folder import PrivateFolder
from bsou_dist.shards.pseudonyms import Pseudonymizer

PSEUDONYMS = Pseudonymizer(bytes(32))


def plan(clips: int = 23, shard_clips: int = 5) -> PackPlan:
    table = pd.DataFrame(
        [
            row(
                number,
                path=f"clips/{number}",
                mm_per_px=(0.5, np.nan)[number % 2],
                line=number + 2,
                bmi=24.4567,
            )
            for number in range(clips)
        ]
    )
    return plan_clips(table, Path("/data"), shard_clips, PSEUDONYMS)


def test_keys_count_the_clips_of_a_study_and_sweep() -> None:
    clips = sorted(plan().clips(range(23)), key=lambda clip: clip.line)
    seen: Counter[str] = Counter()
    for number, clip in enumerate(clips):
        described = row(number)
        stem = f"{PSEUDONYMS.study(described['study_id'])}-{described['sweep'] or 'x'}"
        assert clip.key == f"{stem}-{seen[stem]}"
        seen[stem] += 1
        assert clip.columns["clip"] == PSEUDONYMS.clip(f"clips/{number}")
        assert clip.columns["patient"] == PSEUDONYMS.patient(described["patient_id"])
        assert clip.columns["exam"] == PSEUDONYMS.exam(described["exam_id"])
        assert (clip.columns["sweep"], clip.columns["bmi"]) == (described["sweep"], 24.5)
        assert (clip.path, clip.line, clip.mm_per_px) == (
            f"clips/{number}",
            number + 2,
            (0.5, None)[number % 2],
        )
    assert len({clip.key for clip in clips}) == 23


def test_the_order_of_clips_tells_ids_apart_from_nothing_but_the_key() -> None:
    """Patients and studies by pseudonym; the clips of a study by the table."""
    clips = plan().clips(range(23))
    order = [(clip.columns["patient"], clip.columns["study"], clip.line) for clip in clips]
    assert order == sorted(order)
    assert [clip.line for clip in clips] != sorted(clip.line for clip in clips)
    assert [clip.line for clip in plan().clips(range(23))] == [clip.line for clip in clips]


def test_shards_share_out_the_rows() -> None:
    rows = [row for shard in plan().shards for row in plan().rows_of(shard)]
    assert rows == list(range(23))
    assert [len(plan().rows_of(shard)) for shard in plan().shards] == [5, 5, 5, 5, 3]


@pytest.mark.parametrize("rows_at_a_time", [1, 7, 23, 4096])
def test_the_fingerprint_is_that_of_all_clips_as_one_text(
    rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it was from the first version on; folders that are finished are known by it."""
    monkeypatch.setattr(plan_module, "_FINGERPRINT_ROWS", rows_at_a_time)
    text = json.dumps(
        [[clip.key, clip.mm_per_px, clip.columns] for clip in plan().clips(range(23))],
        sort_keys=True,
    )
    assert plan().fingerprint() == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_plan_reads_back_as_it_was(tmp_path: Path) -> None:
    private = PrivateFolder(tmp_path)
    private.write_plan(plan(), "0123", {"asked": 1})
    read = private.read_plan("0123", 5)
    assert read.clips(range(23)) == plan().clips(range(23))
    assert (read.root, read.fingerprint()) == (Path("/data"), plan().fingerprint())
    assert private.read_source() == {"asked": 1}
    assert (tmp_path / "plan.parquet").stat().st_mode & 0o777 == 0o600
