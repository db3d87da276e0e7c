"""Whatever a file holds, it becomes a clip or a reason, and its neighbours do not notice.

BSOU_FUZZ=1000 damages every kind of file so many times instead of a few, BSOU_FUZZ_SEED=7 in other
ways, and BSOU_FUZZ_KEEP=FOLDER keeps those that were lost.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fuzzed import bombs, damaged, whole_files, write_clip

from bsou_dist.common.worker_pool import Limits, Lost, ordered_map
from bsou_dist.prepare.prepare_clip import PrepareConfig, RejectedClip, prepare
from bsou_dist.sources.raw_clip import UnreadableClip
from bsou_dist.sources.read_clip import read_clip

DAMAGES = int(os.environ.get("BSOU_FUZZ", "12"))  # of each kind of file
SEED = int(os.environ.get("BSOU_FUZZ_SEED", "1"))
LIMITS = Limits(seconds=20.0, memory_mb=256)
CONFIG = PrepareConfig(size_px=64, field_mm=120.0, max_frames=8)


def _outcome(path: Path) -> str:
    try:
        prepare(read_clip(path, CONFIG.max_frames), CONFIG, 1.2)
    except (UnreadableClip, RejectedClip) as error:
        return str(error)
    return "clip"


def outcomes(folder: Path, files: dict[str, bytes]) -> dict[str, str | Lost]:
    """What becomes of each file; of a whole one after every tenth too."""
    (folder / "fuzzed").mkdir()
    paths = {}
    for number, (name, data) in enumerate(files.items()):
        paths[name] = folder / "fuzzed" / str(number)
        write_clip(paths[name], name, data)
        if number % 10 == 0:
            paths[f"whole {number}"] = folder / "clips" / "000000.dcm"
    found = dict(zip(paths, ordered_map(_outcome, paths.values(), 2, LIMITS), strict=True))
    assert {outcome for name, outcome in found.items() if name.startswith("whole ")} == {"clip"}
    return {name: found[name] for name in files}


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    return whole_files(tmp_path)


def test_whole_files_are_clips(tmp_path: Path, whole: dict[str, bytes]) -> None:
    for name, data in whole.items():
        path = tmp_path / f"whole {name}"
        write_clip(path, name, data)
        assert _outcome(path) == "clip", name


def test_damaged_files_have_a_reason(
    tmp_path: Path, whole: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(SEED)
    kinds = list(whole)
    files = {
        f"{kind} {number}": damaged(whole[kind], whole[kinds[random.integers(len(kinds))]], random)
        for number in range(DAMAGES)
        for kind in kinds
    }
    found = outcomes(tmp_path, files)
    counts = Counter(
        outcome.reason if isinstance(outcome, Lost) else outcome for outcome in found.values()
    )
    assert capfd.readouterr() == ("", "")  # not even what decoders in C write
    for text in counts:
        assert "Phantom" not in text  # the patient's name
        assert "MUSTERFRAU" not in text
        assert str(tmp_path) not in text
    assert 0.1 < counts["clip"] / len(files) < 0.9  # neither harmless nor hopeless
    lost_count = sum(isinstance(outcome, Lost) for outcome in found.values())
    assert lost_count < 0.03 * len(files)  # most are told in time
    if "BSOU_FUZZ" in os.environ:
        lost = {
            name: outcome.reason for name, outcome in found.items() if isinstance(outcome, Lost)
        }
        kept = Path(os.environ.get("BSOU_FUZZ_KEEP", tmp_path))
        for name in lost:
            (kept / name.replace(" ", "-")).write_bytes(files[name])
        with capfd.disabled():
            print(
                *(f"{count:8} {reason}" for reason, count in counts.most_common()), lost, sep="\n"
            )


def test_files_that_claim_too_much_have_a_reason(tmp_path: Path, whole: dict[str, bytes]) -> None:
    found = outcomes(tmp_path, dict(bombs(tmp_path)))
    assert "clip" not in found.values()
    in_small_frames = found["NPZ: half a GB of zeros in small frames"]
    assert in_small_frames.startswith("no tissue")  # read, a frame at a time
    for name in ("NPZ: half a GB of zeros", "deflated: half a GB of zeros"):
        assert found[name] == Lost("it needed more than 256 MB")
    claims = [
        outcome for outcome in found.values() if isinstance(outcome, str) and "claims" in outcome
    ]
    assert len(claims) > len(found) / 2  # told before memory was taken
