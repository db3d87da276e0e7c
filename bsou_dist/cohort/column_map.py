"""Column maps: how a foreign table's columns, codes and units become the cohort's."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bsou_dist.cohort.acouslic.stack_map import StackLayout
from bsou_dist.cohort.bad_cells import BadCell, bad_cells
from bsou_dist.cohort.columns import COLUMNS, OPTIONAL_SPLITS
from bsou_dist.cohort.famli.table_roles import NUMBERS, REPORT_FIELDS, TABLE_FIELDS, check_role
from bsou_dist.cohort.validate import did_you_mean
from bsou_dist.common.bounded_yaml import read_yaml_file
from bsou_dist.common.errors import InputError
from bsou_dist.common.shown_text import shown_text

MAPS = Path(__file__).parent / "maps"
READY_MAPS = tuple(sorted(path.stem for path in MAPS.glob("*.yaml")))
"""Names that stand for maps which come with the program."""

PATH_FIELDS = {
    "acquisition": ("set_folder", "exam_id", "file_name"),
    "folder": ("exam_folder", "month", "file_name"),
    "found_folder": ("exam_folder", "month", "file_name"),
}
"""What the template of a clip's path may hold in braces, by what exams are made from."""

_OURS = (*COLUMNS, *OPTIONAL_SPLITS)


class TableSource(BaseModel):
    """One table among several: where it is, and which of its columns hold which fields.

    ``file`` is relative to the cohort's folder; in each of its parts ``*`` stands for anything and
    case does not count. ``columns`` maps fields to headers, whose case does not count either; null
    takes back what a base map says. ``columns_if_any`` does the same for columns that the table
    need not have. ``missing`` are cells that mean 'not recorded' in this table, beside the usual
    ones. A table that is not there is an error unless ``optional``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    sheet: str | None = None
    optional: bool = False
    columns: dict[str, str | None]
    columns_if_any: dict[str, str | None] = Field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def header_of(self, field: str) -> str | None:
        """Header of the column that holds a field; None where the map names none."""
        return self.columns.get(field) or self.columns_if_any.get(field)


class ColumnMap(BaseModel):
    """Foreign layout, read from YAML.

    ``columns`` maps our names to theirs; ``codes`` maps a column's raw values to ours (null for
    missing; a value that is not listed is an error); ``constants`` fills columns the table lacks;
    ``units`` multiplies a number, for example ``mm_per_px: 10`` where the table has centimetres.

    A layout of several tables has ``tables`` in place of ``columns``: by role (see
    ``TABLE_FIELDS``), and what only such layouts have: ``exams_from`` says whether an exam is an
    acquisition that the table names, a folder of one session that it names, or such a folder that
    is looked for on disk, ``path`` is the template of a
    clip's path, ``measurements`` are the names in structured reports of the values used, and exams
    of fewer clips than ``min_clips_per_exam`` are left out. With ``reports_of_other_makers`` an
    exam whose own maker has no report at the visit takes what those of other makers agree about.

    A folder of stacks, each of several sweeps in one file, has ``stacks`` instead.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[str, str] = Field(default_factory=dict)
    codes: dict[str, dict[str, str | None]] = Field(default_factory=dict)
    constants: dict[str, str] = Field(default_factory=dict)
    units: dict[str, float] = Field(default_factory=dict)
    tables: dict[str, TableSource] = Field(default_factory=dict)
    exams_from: Literal["acquisition", "folder", "found_folder"] | None = None
    path: str | None = None
    measurements: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    min_clips_per_exam: int = Field(default=1, ge=1)
    reports_of_other_makers: bool = False
    stacks: StackLayout | None = None

    @field_validator("codes", mode="before")
    @classmethod
    def _codes_as_text(cls, value: object) -> object:
        """Make text of codes: YAML reads ``1: cephalic`` with a number as key, cells are text."""
        if not isinstance(value, dict):
            return value
        return {column: _as_text(codes) for column, codes in value.items()}

    @field_validator("tables", mode="before")
    @classmethod
    def _without_null_tables(cls, value: object) -> object:
        """Take out tables that a map takes back from its base by null."""
        if not isinstance(value, dict):
            return value
        return {role: source for role, source in value.items() if source is not None}

    @field_validator("constants", mode="before")
    @classmethod
    def _constants_as_text(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {column: str(constant) for column, constant in value.items()}

    @model_validator(mode="after")
    def _check(self) -> ColumnMap:
        unknown = sorted({*self.columns, *self.codes, *self.constants, *self.units} - set(_OURS))
        if unknown:
            raise ValueError(f"{unknown} are no columns of a cohort; those are {', '.join(_OURS)}")
        twice = sorted(set(self.columns) & set(self.constants))
        if twice:
            raise ValueError(
                f"{twice} are both in 'columns' and in 'constants'; keep one of the two"
            )
        scaled_texts = sorted(name for name in self.units if not _is_number(name))
        if scaled_texts:
            raise ValueError(f"'units' scales numbers, and {scaled_texts} hold text")
        if self.stacks and (self.columns or self.codes or self.tables):
            raise ValueError("'stacks' stands for itself: no 'columns', 'codes' or 'tables' beside")
        if self.tables:
            self._check_tables()
        elif self.exams_from or self.path or self.measurements:
            raise ValueError(
                "'exams_from', 'path' and 'measurements' go with 'tables', and there are none"
            )
        return self

    def _check_tables(self) -> None:
        if self.columns:
            raise ValueError("give 'columns' for one table or 'tables' for several, not both")
        if "clips" not in self.tables or not self.exams_from or not self.path:
            raise ValueError(
                "a layout of several tables needs 'tables.clips', 'exams_from' and 'path'"
            )
        for role, source in self.tables.items():
            fields = {field for field, header in source.columns.items() if header}
            optional = {field for field, header in source.columns_if_any.items() if header}
            check_role(role, fields, optional)

        readable = {field for fields in TABLE_FIELDS.values() for field in fields.all}
        unreadable = sorted({*self.codes, *self.units} - readable)
        if unreadable:
            raise ValueError(
                f"{unreadable} have no codes or units in a layout of several tables, since none "
                "of its tables tells them as they are"
            )
        path_fields = PATH_FIELDS[self.exams_from]
        in_braces = re.findall(r"\{(.*?)\}", self.path)
        wrong = sorted(set(in_braces) - set(path_fields))
        if wrong:
            raise ValueError(
                f"path: {_quoted(wrong)} is no field; those are {', '.join(path_fields)}"
            )
        unknown = sorted(set(self.measurements) - set(REPORT_FIELDS))
        if unknown:
            raise ValueError(f"{unknown} are no measurements; those are {', '.join(REPORT_FIELDS)}")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything the map says; without stacks as before there were any."""
        absent = {"stacks"} if self.stacks is None else None
        return hashlib.sha256(self.model_dump_json(exclude=absent).encode()).hexdigest()

    def own_values(self) -> dict[str, frozenset[str]]:
        """Values that this map itself brings into a cohort, by column."""
        values = {
            column: frozenset(code for code in codes.values() if code is not None)
            for column, codes in self.codes.items()
        }
        for column, constant in self.constants.items():
            values[column] = values.get(column, frozenset()) | {constant}
        return values

    def rename(self, raw: pd.DataFrame, source: str) -> pd.DataFrame:
        """Copy of ``raw`` with our columns beside its own, and the constants.

        Raises:
            InputError: a column named in the map is not in the table.
        """
        absent = sorted(set(self.columns.values()) - set(raw.columns))
        if absent:
            raise InputError(
                f"{source} has no column {_quoted(absent)}, which the column map names; "
                f"it has {', '.join(map(str, raw.columns))}"
            )
        frame = raw.copy()
        for ours, theirs in self.columns.items():
            frame[ours] = raw[theirs]
        return frame.assign(**self.constants)

    def decode(self, table: pd.DataFrame) -> list[BadCell]:
        """Replace codes by ours and numbers by float64 in their unit, in place.

        Args:
            table: text, missing as NaN.

        Returns:
            Cells whose code is not listed or that are no number; they become missing.
        """
        bad: list[BadCell] = []
        for column, codes in self.codes.items():
            if column in table.columns:
                bad += _decode_codes(table, column, codes)
        for column in table.columns.intersection(list(NUMBERS)):
            numbers = pd.to_numeric(table[column], errors="coerce").astype("float64")
            no_number = table[column].notna() & numbers.isna()
            bad += bad_cells(table, column, no_number, "a number or an empty cell")
            table[column] = numbers * self.units.get(column, 1.0)
        return bad


def _decode_codes(table: pd.DataFrame, column: str, codes: dict[str, str | None]) -> list[BadCell]:
    present = table[column].dropna()
    raw = present.map(_plain_code)
    # words count whatever their case, but for those that a map tells apart by it
    in_any_case = {code.lower(): code for code in codes}
    raw = raw.where(raw.isin(list(codes)), raw.str.lower().map(in_any_case).fillna(raw))
    unlisted = raw.index[~raw.isin(list(codes))]
    accepted = f"the column map knows the codes {', '.join(codes)}"
    bad = bad_cells(table, column, table.index.isin(unlisted), accepted)
    table[column] = raw.map(codes).reindex(table.index).astype("str")
    return bad


def _is_number(name: str) -> bool:
    return name in COLUMNS and COLUMNS[name].kind == "number"


def _as_text(codes: object) -> object:
    """Codes of a column, all as text; what is no mapping is left for the validator to refuse."""
    if not isinstance(codes, dict):
        return codes
    return {
        _plain_code(str(raw)): None if ours is None else str(ours) for raw, ours in codes.items()
    }


def _plain_code(raw: str) -> str:
    """Code in one spelling: 1, '1' and '1.0' are the same."""
    code = raw.strip()
    whole, point, decimals = code.partition(".")
    if point and whole.lstrip("-").isdigit() and not decimals.strip("0"):
        return whole
    return code


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def load_column_map(name: Path | str) -> ColumnMap:
    """Read the ready map of that name, or else a YAML file, laid over the map it has as ``base``.

    Raises:
        InputError: no such map or file, not YAML, or an entry that is not allowed.
    """
    path = _map_path(str(name), Path())
    try:
        return ColumnMap.model_validate(_with_base(path, above=()))
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            place = ".".join(map(str, fault["loc"])) or "map"
            faults.append(f"{shown_text(place)}: {shown_text(fault['msg'], 400)}")
        raise InputError(
            f"column map {path}: {'; '.join(faults)}. "
            f"Keys are base, {', '.join(ColumnMap.model_fields)}"
        ) from error


def _map_path(name: str, folder: Path) -> Path:
    if name in READY_MAPS:
        return MAPS / f"{name}.yaml"
    path = folder / name
    if not path.is_file():
        raise InputError(
            f"no column map at {path}{did_you_mean(name, list(READY_MAPS))}; ready ones are "
            f"{', '.join(READY_MAPS)}"
        )
    return path


def _with_base(path: Path, above: tuple[Path, ...]) -> Any:
    """Content of a map, laid over its base. ``above`` are the maps that have it as theirs."""
    content = read_yaml_file(path, "column map") or {}
    keys = ["base", *ColumnMap.model_fields]
    if not isinstance(content, dict) or not set(keys) & set(content):
        # What it holds is not repeated: it may be a table of patients.
        raise InputError(
            f"{path} is no column map; it must hold at least one of the keys {', '.join(keys)}"
        )
    if "base" not in content:
        return content
    base = _map_path(str(content.pop("base")), path.parent)
    chain = (*above, path)
    if base.resolve() in [earlier.resolve() for earlier in chain]:
        raise InputError(f"column map {path} is its own base by way of {base}; take one 'base' out")
    return _laid_over(_with_base(base, chain), content)


def _laid_over(base: Any, own: Any) -> Any:
    """``own`` over ``base``: mappings are merged entry by entry, anything else is replaced."""
    if not isinstance(base, dict) or not isinstance(own, dict):
        return own
    merged = dict(base)
    for key, value in own.items():
        merged[key] = _laid_over(base.get(key), value)
    return merged
