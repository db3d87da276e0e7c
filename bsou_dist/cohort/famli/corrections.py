"""Tables that know a clip by its file's name: corrected tags, and pixel spacing of videos without a
header.

What a table says twice, and differently, of one name is said of neither clip; nor is what it says
of the name alone where two studies have a file of that name.
"""

from __future__ import annotations

import pandas as pd

from bsou_dist.cohort.famli.tables import Tables


def correct_tags(tables: Tables, clips: pd.DataFrame) -> None:
    """Replace tags in place by those of the file of corrections; an empty correction makes the tag
    unknown.
    """
    corrections = (
        tables.read("tag_corrections").dropna(subset=["file_name"]).fillna({"tag_raw": ""})
    )
    names = clips["file_name"]
    tag_of = _one_each(corrections["tag_raw"], corrections["file_name"], _of_two_studies(clips))
    unclear = names.isin(corrections["file_name"]) & ~names.isin(tag_of.index)
    corrected = names.map(tag_of).astype("str")
    clips["tag_raw"] = corrected.fillna(clips["tag_raw"]).mask(corrected.eq("") | unclear)
    _note(tables, unclear, "corrected tags")


def spacing_of_videos(tables: Tables, clips: pd.DataFrame) -> pd.Series:
    """mm per pixel by clip, where the table of videos tells it."""
    spacing = tables.read("spacing")
    tables.decode("spacing", spacing)
    spacing = spacing.dropna(subset=["file_name", "mm_per_px"])
    if spacing["study_id"].notna().any():
        names, theirs, ambiguous = (
            clips["study_id"] + "/" + clips["file_name"],
            spacing["study_id"] + "/" + spacing["file_name"],
            set[str](),
        )
    else:
        names, theirs, ambiguous = clips["file_name"], spacing["file_name"], _of_two_studies(clips)
    spacing_of = _one_each(spacing["mm_per_px"], theirs, ambiguous)
    _note(tables, names.isin(theirs) & ~names.isin(spacing_of.index), "pixel spacings")
    return names.map(spacing_of).astype("float64")


def _one_each(values: pd.Series, names: pd.Series, ambiguous: set[str]) -> pd.Series:
    """Value by name, for the names that have one."""
    table = pd.DataFrame({"name": names, "value": values}).drop_duplicates()
    unclear = ambiguous | set(table.loc[table["name"].duplicated(), "name"])
    return table[~table["name"].isin(list(unclear))].set_index("name")["value"]


def _of_two_studies(clips: pd.DataFrame) -> set[str]:
    pairs = clips[["file_name", "study_id"]].dropna().drop_duplicates()
    return set(pairs.loc[pairs["file_name"].duplicated(), "file_name"])


def _note(tables: Tables, unclear: pd.Series, what: str) -> None:
    tables.note(
        int(unclear.sum()),
        f"{what} are of a file name with two values or in two studies, taken as missing",
    )
