"""The choice of a decoder."""

from __future__ import annotations

import pytest

from bsou_dist.common.errors import InputError
from bsou_dist.feed.decode.dali import DaliDecoder
from bsou_dist.feed.decode.make import make_decoder
from bsou_dist.feed.decode.reference import ReferenceDecoder


def test_the_choice_of_a_decoder(monkeypatch) -> None:
    assert isinstance(make_decoder("auto", "jpeg", "cpu", 1), DaliDecoder)
    assert isinstance(make_decoder("auto", "h264", "cpu", 1), ReferenceDecoder)
    assert isinstance(make_decoder("reference", "jpeg", "cpu", 1), ReferenceDecoder)
    with pytest.raises(InputError, match=r"GPU only.*bsou pack COHORT NEW_FOLDER codec=jpeg"):
        make_decoder("dali", "h264", "cpu", 1)
    unknown = r"codec 'av1'.*known: jpeg, h264.*bsou pack COHORT NEW_FOLDER codec=jpeg"
    with pytest.raises(InputError, match=unknown):
        make_decoder("auto", "av1", "cpu", 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert isinstance(make_decoder("auto", "jpeg", "cpu", 1), ReferenceDecoder)
    with pytest.raises(InputError, match="pip install nvidia-dali"):
        make_decoder("dali", "jpeg", "cpu", 1)
