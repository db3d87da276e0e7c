"""What is said about training where output is no terminal."""

from __future__ import annotations

import re

import pytest

from bsou_dist.engine.progress import StepBar, peak_memory_gb


def said(capsys, *, shown: bool, line_every_s: float) -> list[str]:
    bar = StepBar(
        "pretrain",
        unit="clip",
        total=100,
        done=10,
        shown=shown,
        line_every_s=line_every_s,
        device="cpu",
    )
    with bar:
        for loss in (0.5, None, 0.25):
            bar.step(loss, items=8, data_wait_s=0.0)
    return capsys.readouterr().err.splitlines()


def test_without_a_terminal_a_line_tells_loss_speed_waiting_time_left_and_memory(capsys):
    lines = said(capsys, shown=True, line_every_s=1e-9)
    assert len(lines) == 3
    assert re.fullmatch(
        r"pretrain: step 13 of 100, loss 0\.4750, [\d.]+ clips/s, data wait 0\.0 %, "
        r"[\d:]+ left, memory [\d.]+ GB",
        lines[2],
    )


@pytest.mark.parametrize(("shown", "line_every_s"), [(False, 1e-9), (True, 3600.0)])
def test_other_ranks_say_nothing_and_lines_keep_their_distance(shown, line_every_s, capsys):
    assert said(capsys, shown=shown, line_every_s=line_every_s) == []


def test_memory_is_that_of_the_process():
    assert 0.05 < peak_memory_gb("cpu") < 100
