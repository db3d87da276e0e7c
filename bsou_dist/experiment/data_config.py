"""Where a run's clips and labels come from: one corpus, or several that are mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from bsou_dist.cohort.splits import SplitConfig
from bsou_dist.common.strict_config import StrictConfig

ClipClass = Literal["blind", "biometric", "diagnostic"]
SourceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class SourceConfig(StrictConfig):
    """Shards, and the cohort table whose labels and splits are joined to them in training."""

    shards: Path
    cohort: Path
    column_map: str | None = None
    """Name of a ready column map, or YAML with one."""
    pseudonym_key: Path | None = None
    """Default: `pseudonym.key` in the folder `<shards>.private`, where `bsou pack` leaves it."""
    splits: SplitConfig = SplitConfig()
    clip_classes: list[ClipClass] = ["blind"]
    """Clips of other classes are not used; those of unknown class are."""
    allow_circular_dating: bool = False
    """Keep gestational ages that were read off the biometry of the same scan."""


class MixedSource(SourceConfig):
    """One of several corpora."""

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Share of every training batch, relative to the other sources, whatever their sizes."""


class DataConfig(StrictConfig):
    """One corpus by its `shards` and `cohort`, or several by their names as `sources`.

    Other keys are those of `SourceConfig`, and each source has its own.
    """

    shards: Path | None = None
    cohort: Path | None = None
    column_map: str | None = None
    pseudonym_key: Path | None = None
    splits: SplitConfig = SplitConfig()
    clip_classes: list[ClipClass] = ["blind"]
    allow_circular_dating: bool = False
    sources: dict[SourceName, MixedSource] = {}
    cache: bool = True
    """Keep what was joined in `<output>/.joined`, from where the next start of any run there takes
    it; it holds labels and pseudonyms, and only its owner can read it.
    """
    phantom: bool = False
    """Whether the patients are generated; every table then says so."""

    @model_validator(mode="after")
    def _one_or_several(self) -> DataConfig:
        defaults = {
            name: type(self).model_fields[name].default for name in SourceConfig.model_fields
        }
        of_one = [name for name, default in defaults.items() if getattr(self, name) != default]
        if self.sources and of_one:
            raise ValueError(
                f"there are sources, and {', '.join(of_one)} beside them; each source has its own"
            )
        if len(self.sources) == 1:
            raise ValueError("sources has one; give its keys without 'sources', or name another")
        if not self.sources and (self.shards is None or self.cohort is None):
            absent = [name for name in ("shards", "cohort") if getattr(self, name) is None]
            raise ValueError(f"give {' and '.join(absent)}, or several corpora as 'sources'")
        return self

    @property
    def by_name(self) -> dict[str, SourceConfig]:
        """Every source by its name, which for a single one is ''."""
        if self.sources:
            return dict(self.sources)
        given: dict[str, Any] = {name: getattr(self, name) for name in SourceConfig.model_fields}
        return {"": SourceConfig(**given)}
