"""Column maps: how a foreign table's columns, codes and units become the cohort's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bsou_dist.cohort.columns import COLUMNS, OPTIONAL_SPLITS
from bsou_dist.cohort.problems import BadCell, bad_cells
from bsou_dist.errors import InputError

_KNOWN = (*COLUMNS, *OPTIONAL_SPLITS)


class ColumnMap(BaseModel):
    """A foreign table's layout, read from YAML.

    ``columns`` maps our names to theirs; ``codes`` maps a column's raw values to ours (null for missing; a value
    that is not listed is an error); ``constants`` fills columns the table lacks; ``units`` multiplies a number,
    for example ``mm_per_px: 10`` where the table has centimetres.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[str, str] = Field(default_factory=dict)
    codes: dict[str, dict[str, str | None]] = Field(default_factory=dict)
    constants: dict[str, str] = Field(default_factory=dict)
    units: dict[str, float] = Field(default_factory=dict)

    @field_validator("codes", mode="before")
    @classmethod
    def _codes_as_text(cls, value: object) -> object:
        """YAML reads ``1: cephalic`` with a number as key; cells are text."""
        if not isinstance(value, dict):
            return value
        return {column: {_code(str(raw)): None if ours is None else str(ours) for raw, ours in codes.items()}
                if isinstance(codes, dict) else codes for column, codes in value.items()}

    @field_validator("constants", mode="before")
    @classmethod
    def _constants_as_text(cls, value: object) -> object:
        return {column: str(constant) for column, constant in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _check(self) -> ColumnMap:
        unknown = sorted({*self.columns, *self.codes, *self.constants, *self.units} - set(_KNOWN))
        if unknown:
            raise ValueError(f"{unknown} are no columns of a cohort; those are {', '.join(_KNOWN)}")
        twice = sorted(set(self.columns) & set(self.constants))
        if twice:
            raise ValueError(f"{twice} are both in 'columns' and in 'constants'; keep one of the two")
        texts = sorted(name for name in self.units if name not in COLUMNS or COLUMNS[name].kind != "number")
        if texts:
            raise ValueError(f"'units' scales numbers, and {texts} hold text")
        return self

    def rename(self, raw: pd.DataFrame, source: str) -> pd.DataFrame:
        """``raw`` with our column names and the constants.

        Raises:
            InputError: a column named in the map is not in the table.
        """
        absent = sorted(set(self.columns.values()) - set(raw.columns))
        if absent:
            raise InputError(f"{source} has no column {', '.join(map(repr, absent))}, which the column map names; "
                             f"it has {', '.join(map(str, raw.columns))}")
        frame = raw.copy()
        for ours, theirs in self.columns.items():
            frame[ours] = raw[theirs]
        return frame.assign(**self.constants)

    def decode(self, table: pd.DataFrame) -> list[BadCell]:
        """Replace raw codes in ``table`` (text, missing as NaN) in place; returns cells whose code is not listed."""
        bad: list[BadCell] = []
        for column, codes in self.codes.items():
            present = table[column].dropna()
            raw = present.map(_code)
            unlisted = raw.index[~raw.isin(list(codes))]
            bad += bad_cells(table, column, table.index.isin(unlisted),
                             f"the column map knows the codes {', '.join(codes)}")
            table[column] = raw.map(codes).reindex(table.index).astype("str")
        return bad


def _code(raw: str) -> str:
    """A code as text: 1, '1' and '1.0' are the same code."""
    head, dot, tail = raw.strip().partition(".")
    return head if dot and head.lstrip("-").isdigit() and not tail.strip("0") else raw.strip()


def read_column_map(path: Path) -> ColumnMap:
    """Read a column map from YAML.

    Raises:
        InputError: no such file, not YAML, or an entry that is not allowed.
    """
    if not path.is_file():
        raise InputError(f"no column map at {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return ColumnMap.model_validate(content or {})
    except yaml.YAMLError as error:
        raise InputError(f"column map {path} is not YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'map'}: {fault['msg']}" for fault in error.errors())
        raise InputError(f"column map {path}: {faults}. Keys are {', '.join(ColumnMap.model_fields)}") from error
