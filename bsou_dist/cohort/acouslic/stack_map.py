"""The part of a column map that describes a folder of stacks, each of several sweeps in a row."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bsou_dist.common.sweeps import SWEEPS

STACK_NAME = "{stack}"
"""What stands for a stack's name in the template of its path."""


class StackSweep(BaseModel):
    """One sweep of every stack.

    Attributes:
        direction: how the probe is held: its picture plane is transverse or sagittal to the mother.
        sweep: which of the six canonical sweeps it is, or None where nobody has said.
        ac_mm: header of the column with the fetal abdominal circumference measured in it, mm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    direction: Literal["transverse", "sagittal"]
    sweep: str | None = None
    ac_mm: str

    @field_validator("sweep")
    @classmethod
    def _known(cls, sweep: str | None) -> str | None:
        if sweep is not None and sweep not in SWEEPS:
            raise ValueError(f"{sweep!r} is no sweep; those are {', '.join(SWEEPS)}, or null")
        return sweep


class StackLayout(BaseModel):
    """A folder with a table that has a row per stack, and a file per stack.

    Attributes:
        folder: name of the folder, which may also be found in the one that is given.
        table: the table, relative to the folder.
        stack: header of the column with the names of the stacks.
        patient_id: header of the column with the patients.
        path: where the file of a stack is, `{stack}` being its name.
        frames_per_sweep: frames that each sweep takes in a stack, fill included.
        sweeps: the sweeps by their place in a stack, from 1 on.
        id_digits: ids of fewer digits lost zeros in front, and get them back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    table: str
    stack: str
    patient_id: str
    path: str
    frames_per_sweep: int = Field(ge=1)
    sweeps: dict[int, StackSweep]
    id_digits: int = Field(default=0, ge=0)

    @field_validator("sweeps")
    @classmethod
    def _in_a_row(cls, sweeps: dict[int, StackSweep]) -> dict[int, StackSweep]:
        if not sweeps or sorted(sweeps) != list(range(1, len(sweeps) + 1)):
            raise ValueError(f"number the sweeps of a stack from 1 on, got {sorted(sweeps)}")
        return dict(sorted(sweeps.items()))

    @field_validator("path")
    @classmethod
    def _named(cls, path: str) -> str:
        if path.count(STACK_NAME) != 1 or path.replace(STACK_NAME, "").count("{"):
            raise ValueError(f"{path!r} must hold {STACK_NAME} once, and no other braces")
        return path

    @property
    def frames(self) -> int:
        """Frames of a whole stack."""
        return self.frames_per_sweep * len(self.sweeps)
