"""The private folder of a shard folder, for its owner alone.

It holds the pseudonym key, the plan until all is packed, and which file became which clip.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bsou_dist.common.csv_cells import escaped_table
from bsou_dist.common.errors import InputError
from bsou_dist.common.files import private_file
from bsou_dist.packing.plan import IDENTITIES, PSEUDONYMS, PackPlan

KEY_NAME = "pseudonym.key"
KEYMAP_NAME = "keymap.parquet"
REJECTS_NAME = "rejects.csv"
WORDS_NAME = "words.csv"
"""Which code stands for which site or device."""
PLAN_NAME = "plan.parquet"
"""There until all is packed: the processes that share the work read it instead of the cohort."""

_ABOUT = b"bsou"  # in the metadata of the plan's file


@dataclass(frozen=True)
class PrivateFolder:
    """What `bsou pack` keeps about a shard folder and must not give away with it."""

    path: Path

    def write_plan(self, plan: PackPlan, cohort_fingerprint: str, source: dict[str, Any]) -> None:
        """Keep the plan, with its cohort's fingerprint and the source that this was read from."""
        about = {"root": str(plan.root), "cohort": cohort_fingerprint, "source": source}
        table = pa.Table.from_pandas(plan.table, preserve_index=False)
        metadata = {**table.schema.metadata, _ABOUT: json.dumps(about).encode()}
        with private_file(self.path / PLAN_NAME) as file:
            pq.write_table(table.replace_schema_metadata(metadata), file)

    def write_words(self, words: pd.DataFrame) -> None:
        """Keep which code stands for which word: columns `column`, `word` and `code`."""
        with private_file(self.path / WORDS_NAME) as file:
            escaped_table(words).to_csv(file, index=False)

    def read_plan(self, cohort_fingerprint: str, shard_clips: int) -> PackPlan:
        """Read the plan that was kept, for shards of so many clips.

        Raises:
            InputError: there is none, or that of a cohort with another fingerprint.
        """
        path = self.path / PLAN_NAME
        if not path.is_file():
            raise InputError(
                f"{path} is missing, and a share of the work is only known from it; name the "
                "private folder of these shards with --private, or give the same command with "
                "--begin first"
            )
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[_ABOUT])
        if about["cohort"] != cohort_fingerprint:
            raise InputError(
                f"{path} is the plan of other shards; name the private folder of these with "
                "--private"
            )
        return PackPlan(table.to_pandas(), Path(about["root"]), shard_clips)

    def read_source(self) -> dict[str, Any] | None:
        """Read what the plan was made from; None if there is no plan."""
        path = self.path / PLAN_NAME
        if not path.is_file():
            return None
        about = json.loads(pq.read_schema(path).metadata[_ABOUT])
        source: dict[str, Any] = about["source"]
        return source

    def forget_plan(self) -> None:
        """Remove the plan, since all is packed."""
        (self.path / PLAN_NAME).unlink(missing_ok=True)

    def write_results(self, plan: PackPlan, reasons: Mapping[str, str]) -> None:
        """Write which clips were rejected and which file became which clip.

        `reasons` tells why clips were rejected, by clip pseudonym.
        """
        table = plan.table
        reason = table["clip"].map(reasons)
        is_rejected = reason.notna()

        rejects = table[["path", "frame_range"]].assign(reason=reason)[is_rejected]
        with private_file(self.path / REJECTS_NAME) as file:
            escaped_table(rejects).to_csv(file, index=False)

        keymap = table[["path", "frame_range", *IDENTITIES, *PSEUDONYMS]]
        keymap = keymap.assign(key=table["key"].mask(is_rejected))
        with private_file(self.path / KEYMAP_NAME) as file:
            keymap.to_parquet(file, index=False)
