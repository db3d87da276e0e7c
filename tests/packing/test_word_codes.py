"""What stands for sites and devices."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from packed_cohort import CONFIG, KEY, quiet_packer
from pydantic import ValidationError

from bsou_dist.cohort.table import Cohort, read_cohort
from bsou_dist.packing.word_codes import WordConfig, code_words
from bsou_dist.shards.manifest import read_manifest
from bsou_dist.shards.pseudonyms import Pseudonymizer

PSEUDONYMS = Pseudonymizer(bytes.fromhex(KEY))
TABLE = pd.DataFrame(
    {
        "site": ["St Mary", "north", "ST MARY", None],
        "device": ["GE V830", "Dr Mueller's probe", "GE V830", "clarius"],
    }
)


def test_listed_words_get_their_code_and_others_a_pseudonym() -> None:
    config = WordConfig(site={"st mary": "A"}, device={"GE V830": "ge"})
    listed = {"device": {"clarius", "Dr Mueller's probe"}, "site": set()}
    coded, words = code_words(TABLE, config, listed, PSEUDONYMS)
    assert coded["site"].tolist()[:3] == ["A", PSEUDONYMS.site("north"), "A"]
    assert pd.isna(coded["site"][3])
    doctors = PSEUDONYMS.device("Dr Mueller's probe")  # listed, and no code by its form
    assert coded["device"].tolist() == ["ge", doctors, "ge", "clarius"]
    assert {"column": "site", "word": "ST MARY", "code": "A"} in words.to_dict("records")
    assert len(words) == 6
    assert PSEUDONYMS.site("north") != PSEUDONYMS.device("north")


def test_one_switch_leaves_all_words_in_clear() -> None:
    coded, words = code_words(TABLE, WordConfig(in_clear=True), {}, PSEUDONYMS)
    pd.testing.assert_frame_equal(coded, TABLE)
    assert words.empty


@pytest.mark.parametrize("code", ["", "a/b", "=A", "Ward 19880312", "x" * 33, "é"])
def test_a_code_must_be_plain(code: str) -> None:
    with pytest.raises(ValidationError, match="a code is"):
        WordConfig(site={"north": code})


def test_words_stay_in_the_private_folder(
    cohort: tuple[pd.DataFrame, Path], tmp_path: Path
) -> None:
    """Sites as a listed word, and devices by pseudonym."""
    table = cohort[0].head(2).assign(site="Musterdorf", device=["=Muster(1)", "Muster 2"])
    words = WordConfig(site={"Musterdorf": "M1"})
    config = CONFIG.model_copy(update={"words": words})
    packer = quiet_packer(tmp_path / "out", tmp_path / "private", config)
    packer.run(Cohort(table, cohort[1]))
    manifest = read_manifest(tmp_path / "out")
    assert manifest["site"].tolist() == ["M1", "M1"]
    assert set(manifest["device"]) == {PSEUDONYMS.device(name) for name in table["device"]}
    for path in (tmp_path / "out").iterdir():
        assert b"Muster" not in path.read_bytes(), path
    kept = pd.read_csv(tmp_path / "private" / "words.csv")
    assert kept.loc[kept["column"] == "device", "word"].tolist() == ["'=Muster(1)", "Muster 2"]
    assert kept.loc[kept["column"] == "site", "code"].tolist() == ["M1"]


def test_codes_of_a_column_map_are_listed(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text("patient_id,study_id,path,site\n1,2,a,St Mary\n")
    (tmp_path / "map.yaml").write_text(
        "codes: {site: {St Mary: A, north: null}}\nconstants: {device: probe}\n"
    )
    cohort = read_cohort(tmp_path / "cohort.csv", column_map=tmp_path / "map.yaml")
    coded, _ = code_words(cohort.table, WordConfig(), cohort.codes, PSEUDONYMS)
    assert coded.loc[0, ["site", "device"]].tolist() == ["A", "probe"]
