"""Tables that know a clip by its file's name: corrected tags, and pixel spacing of videos.

If a table gives two values for one name, neither clip gets any; nor does it where only the name is
given and two studies have a file of that name.
"""

from __future__ import annotations

import pandas as pd

from bsou_dist.cohort.famli.found_folders import without_dcm
from bsou_dist.cohort.famli.tables import Tables


def correct_tags(tables: Tables, clips: pd.DataFrame) -> None:
    """Replace tags in place by the corrected ones; an empty correction makes the tag unknown."""
    corrections = tables.read("tag_corrections").dropna(subset=["file_name"])
    corrections = corrections.fillna({"tag_raw": ""})
    names = without_dcm(clips["file_name"])
    corrected_names = without_dcm(corrections["file_name"])
    ambiguous = _names_in_two_studies(clips.assign(file_name=names))
    tag_of = _unambiguous(corrections["tag_raw"], corrected_names, ambiguous)
    unclear = names.isin(corrected_names) & ~names.isin(tag_of.index)
    corrected = names.map(tag_of).astype("str")
    emptied = corrected.eq("") | unclear
    clips["tag_raw"] = corrected.fillna(clips["tag_raw"]).mask(emptied)
    _note_unclear(tables, unclear, "corrected tags")


def spacing_of_videos(tables: Tables, clips: pd.DataFrame) -> pd.Series:
    """Pixel spacing (mm) by clip, from the table of videos; missing where that has none."""
    if "spacing" not in tables.mapping.tables:
        is_video = clips["file_name"].str.lower().str.endswith(".mp4")
        return clips["mm_per_px"].where(is_video)  # the table of clips has it
    spacing = tables.read("spacing")
    tables.decode("spacing", spacing)
    spacing = spacing.dropna(subset=["file_name", "mm_per_px"])
    has_studies = spacing["study_id"].notna().any()
    if has_studies:
        clip_names = clips["study_id"] + "/" + clips["file_name"]
        spacing_names = spacing["study_id"] + "/" + spacing["file_name"]
        ambiguous: set[str] = set()
    else:
        clip_names = clips["file_name"]
        spacing_names = spacing["file_name"]
        ambiguous = _names_in_two_studies(clips)
    spacing_of = _unambiguous(spacing["mm_per_px"], spacing_names, ambiguous)
    unclear = clip_names.isin(spacing_names) & ~clip_names.isin(spacing_of.index)
    _note_unclear(tables, unclear, "pixel spacings")
    return clip_names.map(spacing_of).astype("float64")


def _unambiguous(values: pd.Series, names: pd.Series, ambiguous: set[str]) -> pd.Series:
    """Value by name, for the names that have one value and aren't ``ambiguous`` by themselves."""
    table = pd.DataFrame({"name": names, "value": values}).drop_duplicates()
    with_two_values = set(table.loc[table["name"].duplicated(), "name"])
    clear = ~table["name"].isin(list(ambiguous | with_two_values))
    return table[clear].set_index("name")["value"]


def _names_in_two_studies(clips: pd.DataFrame) -> set[str]:
    pairs = clips[["file_name", "study_id"]].dropna().drop_duplicates()
    repeated = pairs["file_name"].duplicated()
    return set(pairs.loc[repeated, "file_name"])


def _note_unclear(tables: Tables, unclear: pd.Series, what: str) -> None:
    tables.note(
        int(unclear.sum()),
        f"{what} are of a file name with two values or in two studies, taken as missing",
    )
