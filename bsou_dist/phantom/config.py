"""Settings of a phantom cohort."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.common.sweeps import SWEEPS

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

GA_LIMITS_DAYS = (84, 294)
"""Range (days) in which the growth charts are used: 12 to 42 weeks."""


class PhantomConfig(StrictConfig):
    """Settings of a phantom cohort; a clip is a pure function of these and the patient's index.

    The defaults give clear pictures and complete labels; the ugliness of a real corpus comes on
    request.

    Raises:
        pydantic.ValidationError: (a ``ValueError``) an unknown key or a value out of range, with
            what is allowed.
    """

    seed: int = Field(default=0, ge=0)
    patients: int = Field(default=100, ge=1, le=99_999)
    exams_per_patient: int = Field(default=1, ge=1, le=6)
    """A mother comes for 1 to this many visits; later visits repeat her with an older fetus."""
    both_devices_fraction: Fraction = 0.0
    """Share of visits scanned twice: by an expert (console) and by a novice (handheld probe)."""
    clips_per_sweep: int = Field(default=1, ge=1, le=8)
    """Each sweep is recorded 1 to this many times."""
    sweeps: tuple[str, ...] = SWEEPS

    frames: int = Field(default=24, ge=2, le=2048)
    size_px: int = Field(default=96, ge=16, le=1024)
    field_mm: float = Field(default=192.0, ge=60.0, le=400.0)
    """Side of the square picture (mm)."""
    duration_s: tuple[float, float] = (6.0, 12.0)
    """Shortest and longest sweep (s); with ``frames`` it gives the frame rate."""

    ga_days: tuple[int, int] = (98, 280)
    """Youngest and oldest gestational age (days), drawn evenly."""
    balanced: bool = False
    """Draw presentation 50/50 at every age; otherwise non-cephalic ones get rarer with age."""
    twin_fraction: Fraction = 0.0
    obese_fraction: Fraction = 0.0
    """Share of mothers with BMI above 30."""
    novice_fraction: Fraction = 0.0
    """Share of mothers scanned by a novice (handheld probe); the others by an expert (console)."""
    growth_sd: float = Field(default=0.02, ge=0.0, le=0.1)
    """Standard deviation of growth, as a share of the age: 0.02 is 2.8 days at 20 weeks."""
    dating_sd_days: float = Field(default=0.0, ge=0.0, le=21.0)
    """Standard deviation (days) of the error of the recorded age; 0 gives the exact age."""

    missing_sweep_fraction: Fraction = 0.0
    """Share of sweeps that were not recorded; an exam keeps at least two."""
    missing_label_fraction: Fraction = 0.0
    """Share of exams that lack any one label (drawn for each label by itself)."""
    reversed_fraction: Fraction = 0.0
    aborted_fraction: Fraction = 0.0
    """Share of clips that end after 40 to 80 % of the path."""
    lost_contact_fraction: Fraction = 0.0
    """Share of clips in which the probe lifts off the skin for a while."""
    hand_jitter: float = Field(default=1.0, ge=0.0, le=4.0)
    """Scale of the operator's unsteadiness: 0 is a robot, 1 as usual."""
    fetal_motion_mm: float = Field(default=0.0, ge=0.0, le=30.0)
    """Standard deviation (mm) of the fetus's drift during a sweep; labels hold for it at rest."""

    @field_validator("sweeps")
    @classmethod
    def _known_sweeps(cls, sweeps: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [sweep for sweep in sweeps if sweep not in SWEEPS]
        if unknown or not sweeps or len(set(sweeps)) != len(sweeps):
            raise ValueError(
                f"sweeps is {list(sweeps)}; choose one or more of {', '.join(SWEEPS)}, each once"
            )
        return sweeps

    @model_validator(mode="after")
    def _ranges(self) -> PhantomConfig:
        low, high = self.ga_days
        lowest, highest = GA_LIMITS_DAYS
        if not lowest <= low <= high <= highest:
            raise ValueError(
                f"ga_days is ({low}, {high}); give youngest and oldest age in days, rising, "
                f"within {lowest} to {highest} (the range of the growth charts)"
            )
        shortest, longest = self.duration_s
        if not 0.5 <= shortest <= longest <= 120.0:
            raise ValueError(
                f"duration_s is {self.duration_s}; give shortest and longest, rising, within 0.5 "
                "to 120 s"
            )
        if self.mm_per_px > 6.0:
            raise ValueError(
                f"field_mm {self.field_mm:g} over size_px {self.size_px} is {self.mm_per_px:.1f} "
                "mm per pixel; more than 6 shows no anatomy: raise size_px or lower field_mm"
            )
        return self

    @property
    def mm_per_px(self) -> float:
        """Pixel spacing (mm)."""
        return self.field_mm / self.size_px
