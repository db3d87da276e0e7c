"""Cells that would be formulas, escaped and back."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsou_dist.common.csv_cells import escaped_cell, escaped_table, unescaped_cell


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+49 30", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''=1", "-1_0", "- 1"],
)
def test_what_might_be_a_formula_gets_an_apostrophe(text: str) -> None:
    assert escaped_cell(text) == f"'{text}"
    assert unescaped_cell(f"'{text}") == text


@pytest.mark.parametrize("text", ["", "a=1", "-5", "+5.25", "-1e-3", "'", "'quoted'", "a/b.dcm"])
def test_numbers_and_other_text_stay(text: str) -> None:
    assert escaped_cell(text) == text
    assert unescaped_cell(text) == text


@given(st.text(alphabet="'=+-@\t\r\n 1.a_", max_size=6))
def test_escaping_is_undone(text: str) -> None:
    assert unescaped_cell(escaped_cell(text)) == text


def test_a_table_is_escaped_but_for_its_numbers() -> None:
    table = pd.DataFrame({"=a": ["=1", None, "x"], "b": [-1.5, 2.0, None], "c": [-1, 2, 3]})
    text = escaped_table(table).to_csv(index=False)
    assert text.splitlines() == ["'=a,b,c", "'=1,-1.5,-1", ",2.0,2", "x,,3"]
    assert table["=a"][0] == "=1"
    assert pd.read_csv(io.StringIO(text))["b"].tolist()[:2] == [-1.5, 2.0]
