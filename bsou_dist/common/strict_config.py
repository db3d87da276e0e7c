"""The base of every config model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictConfig(BaseModel):
    """A model that refuses keys it does not know, and that nothing can change once it is checked.

    A misspelt key would otherwise leave a default in force without a word.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
