"""Nothing that names a patient reaches a shard: neither from the header nor from the picture."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from fan_clips import fan_clips, fan_frames, read_table
from packed_cohort import quiet_packer

from bsou_dist.cohort.table import Cohort
from bsou_dist.common.errors import InputError
from bsou_dist.packing.pack import KEY_NAME, PackConfig
from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.shards.manifest import read_manifest
from bsou_dist.shards.pseudonyms import (
    Pseudonymizer,
    default_private_dir,
    load_key,
    load_or_create_key,
)

Packed = tuple[Path, Path]


def _secrets(cohort: tuple[pd.DataFrame, Path]) -> set[str]:
    table, root = cohort
    secrets = {
        str(value)
        for name in ("patient_id", "study_id", "exam_id", "path")
        for value in table[name]
    }
    for path in table["path"]:
        header = pydicom.dcmread(root / path, stop_before_pixels=True)
        for name in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "StudyID",
            "SOPInstanceUID",
            "StudyInstanceUID",
        ):
            assert header[name].value, name
            secrets |= {str(header[name].value), *str(header[name].value).split("^")}
    return secrets - {"Phantom"}


def test_no_identity_in_any_byte(cohort: tuple[pd.DataFrame, Path], packed: Packed) -> None:
    secrets = {secret.encode() for secret in _secrets(cohort)}
    assert len(secrets) > 20
    assert any(secret in (cohort[1] / cohort[0]["path"][0]).read_bytes() for secret in secrets)
    for path in packed[0].rglob("*"):
        content = path.read_bytes()
        found = [secret for secret in secrets if secret in content or secret in path.name.encode()]
        assert not found, (path, found)


def test_print_leaves_no_trace_in_any_picture(
    cohort: tuple[pd.DataFrame, Path], packed: Packed, config: PackConfig, tmp_path: Path
) -> None:
    printed = pydicom.dcmread(cohort[1] / cohort[0]["path"][0]).pixel_array
    strip = printed.shape[1] - fan_frames().shape[1]
    assert (
        printed[:, :strip].max() > 200
    )  # above the fan, and inside the region that the header states
    table = read_table(write_phantom(fan_clips(10), tmp_path, print_text=False))
    shutil.copytree(packed[1], tmp_path / "private")
    quiet_packer(tmp_path / "out", tmp_path / "private", config).run(Cohort(table, tmp_path))
    pd.testing.assert_series_equal(
        read_manifest(tmp_path / "out")["sha256"], read_manifest(packed[0])["sha256"]
    )


def test_private_folder_is_for_its_owner(packed: Packed) -> None:
    private = packed[1]
    assert stat.S_IMODE((private / KEY_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    names = {path.name for path in private.iterdir()}
    assert names == {KEY_NAME, "keymap.parquet", "rejects.csv", "words.csv"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private.iterdir())
    assert default_private_dir(Path("a/shards")) == Path("a/shards.private")


def test_pseudonyms_depend_on_key_kind_and_identity(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path / "deep" / "key")
    assert (
        key == load_or_create_key(tmp_path / "deep" / "key") == load_key(tmp_path / "deep" / "key")
    )
    one, other = Pseudonymizer(key), Pseudonymizer(load_or_create_key(tmp_path / "other"))
    names = [
        one.patient("7"),
        one.study("7"),
        one.exam("7"),
        one.clip("7"),
        one.patient("8"),
        other.patient("7"),
        one.fingerprint,
        other.fingerprint,
    ]
    assert len(set(names)) == len(names)
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)
    assert one.patient("7") == Pseudonymizer(key).patient("7")
    assert (
        Pseudonymizer(bytes(32)).clip("a/b.dcm") == "f6341eeb7d1e8e3e"
    )  # joins outlive this version


def test_a_lost_or_broken_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pseudonym key at"):
        load_key(tmp_path / "key")
    (tmp_path / "key").write_text("abc")
    with pytest.raises(InputError, match="holds no pseudonym key"):
        load_or_create_key(tmp_path / "key")
