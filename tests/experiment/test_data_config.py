"""Where clips and labels come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from bsou_dist.experiment.data_config import DataConfig

ONE = {"shards": "shards", "cohort": "cohort.csv"}


def test_one_corpus_or_several_give_named_sources():
    [(name, source)] = DataConfig.model_validate(
        ONE | {"clip_classes": ["diagnostic"]}
    ).by_name.items()
    assert (name, source.shards, source.clip_classes) == ("", Path("shards"), ["diagnostic"])
    several = DataConfig.model_validate({"sources": {"a": ONE, "b": ONE | {"weight": 2}}})
    assert [source.weight for source in several.by_name.values()] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shards": "shards"}, "give cohort, or several"),
        ({}, "give shards and cohort, or several"),
        ({"sources": {"a": ONE}}, "sources has one"),
        ({"sources": {"a": ONE, "b": ONE}, "cohort": "c.csv"}, "cohort beside them"),
        ({"sources": {"a/b": ONE, "b": ONE}}, "a/b"),
    ],
)
def test_what_is_neither_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        DataConfig.model_validate(given)
