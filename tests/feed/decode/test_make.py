"""The choice of a decoder."""

from __future__ import annotations

import pytest
import torch

from bsou_dist.common.errors import InputError
from bsou_dist.feed.decode.dali import DaliDecoder
from bsou_dist.feed.decode.make import check_installed, choose_decoder, decoded_on, make_decoder
from bsou_dist.feed.decode.reference import ReferenceDecoder


def test_the_choice_of_a_decoder(monkeypatch) -> None:
    assert choose_decoder("auto", "jpeg", "cpu") == "dali"
    assert choose_decoder("auto", "h264", "cpu") == "reference"
    assert choose_decoder("reference", "jpeg", "cpu") == "reference"
    with pytest.raises(InputError, match=r"GPU only.*bsou pack COHORT NEW_FOLDER codec=jpeg"):
        choose_decoder("dali", "h264", "cpu")
    unknown = r"codec 'av1'.*known: jpeg, h264.*bsou pack COHORT NEW_FOLDER codec=jpeg"
    with pytest.raises(InputError, match=unknown):
        choose_decoder("auto", "av1", "cpu")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_decoder("auto", "jpeg", "cpu") == "reference"
    assert choose_decoder("dali", "jpeg", "cpu") == "dali", "it may be installed where it will run"
    check_installed("auto")
    with pytest.raises(InputError, match="pip install nvidia-dali"):
        check_installed("dali")
    with pytest.raises(InputError, match="pip install nvidia-dali"):
        make_decoder("dali", "jpeg", "cpu", 1)


def test_a_decoder_is_made_of_the_choice() -> None:
    assert isinstance(make_decoder("dali", "jpeg", "cpu", 1), DaliDecoder)
    assert isinstance(make_decoder("reference", "jpeg", "cpu", 1), ReferenceDecoder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_a_choice_for_a_device_that_is_not_there() -> None:
    assert choose_decoder("auto", "jpeg", "cuda") == "dali"
    assert choose_decoder("dali", "h264", "cuda") == "dali"
    assert decoded_on("dali", "cuda:3") == "cuda:3"
    assert decoded_on("reference", "cuda:3") == "cpu"
