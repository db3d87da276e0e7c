from __future__ import annotations

import numpy as np
import pytest

from bsou_dist.common.errors import InputError
from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.phantom import PhantomConfig, render_sweep
from bsou_dist.phantom.acouslic.stacks import phantom_stacks, stack_frames

CONFIG = PhantomConfig(patients=6, frames=5, size_px=64)


def test_some_subjects_have_two_stacks_of_other_names() -> None:
    stacks = list(phantom_stacks(CONFIG))
    assert [stack.patient_id for stack in stacks] == [
        "000", "001", "001", "002", "003", "004", "005", "005",
    ]  # fmt: skip
    assert len({stack.name for stack in stacks}) == 8
    assert [stack.name for stack in phantom_stacks(CONFIG)] == [stack.name for stack in stacks]
    assert {stack.is_filled_in_front for stack in stacks} == {True, False}
    assert {stack.is_compressed for stack in stacks} == {True, False}


def test_a_stack_holds_its_sweeps_filled_with_black() -> None:
    config = CONFIG.model_copy(update={"missing_sweep_fraction": 0.4})
    missing = 0
    for stack in list(phantom_stacks(config))[:2]:
        frames = stack_frames(stack, config)
        assert frames.shape == (840, 48, 64)
        for place, sweep in enumerate(SWEEPS):
            part = frames[140 * place : 140 * (place + 1)]
            [lit] = np.nonzero(part.any(axis=(1, 2)))
            if sweep not in stack.sweeps:
                missing += 1
                assert not len(lit)
                continue
            first = 135 if stack.is_filled_in_front else 0
            assert lit.tolist() == list(range(first, first + 5))
            pictures = render_sweep(stack.exam, sweep, config, stack.repeat)
            np.testing.assert_array_equal(part[lit], pictures[:, :48])
    assert missing


@pytest.mark.parametrize("asked", [{"frames": 141}, {"clips_per_sweep": 2}])
def test_what_the_layout_cannot_hold_is_refused(asked: dict[str, int]) -> None:
    [name] = asked
    with pytest.raises(InputError, match=f"{name} is {asked[name]}"):
        next(phantom_stacks(CONFIG.model_copy(update=asked)))
