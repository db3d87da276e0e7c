"""Several sources as one corpus: what must agree between them, and what must not meet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bsou_dist.cohort.columns import SPLIT_COLUMNS
from bsou_dist.cohort.validate import find_split_leaks
from bsou_dist.common.errors import InputError
from bsou_dist.experiment.data_config import SourceConfig
from bsou_dist.shards.manifest import read_summary


def with_source(table: pa.Table, name: str, folder: Path) -> pa.Table:
    """A joined table whose shards are named by their `folder` too, with the column `source`."""
    place = table.column_names.index("shard")
    shards = pc.binary_join_element_wise(
        pa.scalar(f"{folder}/", pa.large_string()),
        table["shard"],
        pa.scalar("", pa.large_string()),
    )
    table = table.set_column(place, "shard", shards)
    return table.append_column("source", pa.repeat(pa.scalar(name, pa.large_string()), len(table)))


def check_together(
    sources: Mapping[str, SourceConfig], manifest: pd.DataFrame, cohort: pd.DataFrame
) -> None:
    """Check that sources can be one corpus.

    A pseudonym that two sources share is taken for one patient: only packing with the same key
    makes it, and then the identity is the same text.

    Raises:
        InputError: their clips show another field of view, two have a clip in common, or a patient
            is on two sides of a split.
    """
    _check_same_scale(sources)
    repeated = manifest["key"].duplicated(keep=False)
    if repeated.any():
        raise InputError(
            f"{' and '.join(_names(manifest[repeated]))} have {int(repeated.sum())} clips of the "
            "same key: they were packed with one pseudonym key from tables that share studies. "
            "Leave one out, or, if these are other studies, pack each with a key of its own"
        )
    count = manifest.groupby("patient")["source"].nunique()
    shared = manifest["patient"].isin(count.index[count > 1])
    if not shared.any():
        return
    rows = cohort.loc[shared, [*SPLIT_COLUMNS]].assign(
        patient_id=manifest.loc[shared, "patient"], line=0
    )
    leaks = find_split_leaks(rows)
    if leaks:
        raise InputError(
            f"{' and '.join(_names(manifest[shared]))} share {int((count > 1).sum())} patients by "
            f"their pseudonyms, and {len(leaks)} of them are on two sides of a split. If they are "
            "the same people, give the cohort tables split columns that agree; if not, pack each "
            "corpus with a pseudonym key of its own"
        )


def _check_same_scale(sources: Mapping[str, SourceConfig]) -> None:
    """InputError if clips of two sources show another field of view, which a network would see."""
    fields = {
        name: read_summary(source.shards)["recipe"]["config"]["prepare"]["field_mm"]
        for name, source in sources.items()
    }
    if len(set(fields.values())) > 1:
        found = ", ".join(f"{name} {field_mm} mm" for name, field_mm in fields.items())
        raise InputError(
            f"the clips of the sources show another field of view ({found}); pack them with one "
            "prepare.field_mm"
        )


def _names(manifest: pd.DataFrame) -> list[str]:
    return sorted(manifest["source"].unique())
