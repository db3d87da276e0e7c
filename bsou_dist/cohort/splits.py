"""Patient-wise splits with the structure of the paper's Table 1.

Stage 1 (train, valid) and the main sets of stage 2 (train, valid, test) share no patient, and two
sets are held out of both to measure a shift: obese patients, and novices' exams with a handheld
probe. A table's own splits stand instead; where they are of stage 2 alone, stage 1 shares its
training patients.
"""

from __future__ import annotations

import hashlib

import pandas as pd
from pydantic import Field

from bsou_dist.cohort.bad_cells import raise_bad_cells
from bsou_dist.cohort.columns import SPLIT_COLUMNS, SPLITS
from bsou_dist.cohort.frame_ranges import clip_names
from bsou_dist.cohort.validate import find_split_leaks
from bsou_dist.common.errors import InputError
from bsou_dist.common.strict_config import StrictConfig

SplitShare = Field(ge=0, allow_inf_nan=False)


class Stage1Shares(StrictConfig):
    """Relative sizes in patients; stage 1 has no test split."""

    train: float = SplitShare
    valid: float = SplitShare


class Shares(Stage1Shares):
    """Relative sizes in patients."""

    test: float = SplitShare


class SplitConfig(StrictConfig):
    """Shares by which patients are dealt to splits, and whom the extra sets hold.

    Shares are relative within a pool; the defaults are the paper's counts. `stage1` and `stage2`
    deal the main pool together, so their five shares are relative to one another.
    """

    seed: int = 0
    stage1: Stage1Shares = Stage1Shares(train=2000, valid=400)
    stage2: Shares = Shares(train=463, valid=152, test=152)
    obese: Shares = Shares(train=40, valid=19, test=23)
    handheld: Shares = Shares(train=66, valid=22, test=22)
    obese_above_bmi: float = Field(default=30.0, gt=0)  # kg/m2
    handheld_devices: tuple[str, ...] = ("butterfly", "clarius", "handheld")
    stratify: tuple[str, ...] = ("presentation", "placenta", "fetuses")


def apply_splits(table: pd.DataFrame, config: SplitConfig) -> pd.DataFrame:
    """Give a table its four split columns: its own where it has any (checked), else dealt ones.

    A table that has one for stage 2 but none for stage 1 has stage 1 dealt among the training
    patients of stage 2.
    """
    if not any(name in table.columns for name in SPLIT_COLUMNS):
        return split_patients(table, config)
    if "split_stage2" in table.columns and "split_stage1" not in table.columns:
        shares = {
            ("split_stage1", split): share for split, share in config.stage1.model_dump().items()
        }
        dealt = _deal(table[table["split_stage2"].eq("train")], shares, config, may_be_empty=True)
        stage1 = {patient: split for patient, (_, split) in dealt.items()}
        table = table.assign(split_stage1=table["patient_id"].map(stage1).astype("str"))
    complete = table.assign(
        **{
            name: pd.Series(pd.NA, index=table.index, dtype="str")
            for name in SPLIT_COLUMNS
            if name not in table.columns
        }
    )
    raise_bad_cells("cohort", find_split_leaks(complete))
    return complete


def split_patients(table: pd.DataFrame, config: SplitConfig) -> pd.DataFrame:
    """Deal every patient, with all visits and devices, to one split.

    A patient is in one pool: ``handheld`` with any exam by a novice with a handheld probe, else
    ``obese`` with a BMI above ``obese_above_bmi`` at any visit, else the main pool. (Who is both is
    in the handheld pool.) In the handheld pool only the novice's handheld exams are used; the
    patient's other exams are in no split. The same table (in any order of rows) and config give the
    same splits; patients of one stratum, by their first known labels, are spread over the splits.

    Returns:
        The table with ``split_stage1``, ``split_stage2``, ``split_obese`` and ``split_handheld``:
        ``train``, ``valid``, ``test`` or missing.

    Raises:
        InputError: ``stratify`` names no column, or the main pool has too few patients to fill each
            wanted split.
    """
    unknown = sorted(set(config.stratify) - set(table.columns))
    if unknown:
        raise InputError(
            f"stratify: {', '.join(map(repr, unknown))} not in the cohort; "
            f"it has {', '.join(table.columns)}"
        )
    by_novice = table["operator"].eq("novice") & _is_handheld(
        table["device"], config.handheld_devices
    )
    handheld = table["patient_id"].isin(table.loc[by_novice, "patient_id"])
    obese = (
        table["patient_id"].isin(table.loc[table["bmi"].gt(config.obese_above_bmi), "patient_id"])
        & ~handheld
    )

    main_shares = {
        ("split_stage1", split): share for split, share in config.stage1.model_dump().items()
    }
    main_shares |= {
        ("split_stage2", split): share for split, share in config.stage2.model_dump().items()
    }
    dealt = _deal(table[~handheld & ~obese], main_shares, config, may_be_empty=False)
    for column, pool, shares in (
        ("split_obese", obese, config.obese),
        ("split_handheld", handheld, config.handheld),
    ):
        pool_shares = {(column, split): share for split, share in shares.model_dump().items()}
        dealt |= _deal(table[pool], pool_shares, config, may_be_empty=True)

    used = by_novice | ~handheld
    result = table.copy()
    for column in SPLIT_COLUMNS:
        split_of = {patient: split for patient, (name, split) in dealt.items() if name == column}
        result[column] = table["patient_id"].map(split_of).where(used).astype("str")
    return result


def split_sizes(table: pd.DataFrame) -> pd.DataFrame:
    """Patients, exams and clips per split column and split: the counts of the paper's Table 1."""
    rows = []
    for column in SPLIT_COLUMNS:
        for split in SPLITS:
            part = table[table[column].eq(split)]
            if len(part):
                rows.append(
                    {
                        "set": column.removeprefix("split_"),
                        "split": split,
                        "clips": len(part),
                        "patients": part["patient_id"].nunique(),
                        "exams": part["exam_id"].nunique(),
                    }
                )
    return pd.DataFrame(rows, columns=["set", "split", "patients", "exams", "clips"])


Slot = tuple[str, str]
"""A split column and one of its splits."""


def _deal(
    pool: pd.DataFrame, shares: dict[Slot, float], config: SplitConfig, may_be_empty: bool
) -> dict[str, Slot]:
    """Deal patients to slots.

    Patients stand in line by stratum, shuffled within it; the slots recur evenly along the line.
    """
    patients = _in_line(pool, config)
    wanted = {slot: share for slot, share in shares.items() if share > 0}
    if not wanted:
        return {}
    if len(patients) < len(wanted) and not may_be_empty:
        raise InputError(
            f"{len(patients)} patients are neither obese nor scanned by a novice with a handheld "
            "probe; "
            f"they can't fill {len(wanted)} splits ({', '.join(f'{c} {s}' for c, s in wanted)}). "
            "Add "
            "patients, or set the share of a split to 0"
        )
    counts = _apportion(len(patients), wanted)
    recurring = sorted(
        ((turn + 0.5) / count, order, slot)
        for order, (slot, count) in enumerate(counts.items())
        for turn in range(count)
    )
    return {patient: slot for patient, (_, _, slot) in zip(patients, recurring, strict=True)}


def _in_line(pool: pd.DataFrame, config: SplitConfig) -> list[str]:
    first_known = (
        pool.assign(clip=clip_names(pool))
        .sort_values(["patient_id", "visit_day", "exam_id", "clip"])
        .groupby("patient_id")
        .first()
    )
    # A keyed hash, unlike a random generator, gives the same order under every version of every
    # library.
    shuffled = [
        hashlib.sha256(f"{config.seed}:{patient}".encode()).hexdigest()
        for patient in first_known.index
    ]
    return (
        first_known.assign(shuffled=shuffled)
        .sort_values([*config.stratify, "shuffled"])
        .index.tolist()
    )


def _apportion(patients: int, shares: dict[Slot, float]) -> dict[Slot, int]:
    """Round shares to whole numbers that sum to `patients`, by largest remainder.

    Each is at least one while there are enough patients.
    """
    at_least = 1 if patients >= len(shares) else 0
    total = sum(shares.values())
    ideal = {slot: share / total * patients for slot, share in shares.items()}
    counts = {slot: max(at_least, int(value)) for slot, value in ideal.items()}

    def shortfall(slot: Slot) -> float:
        return ideal[slot] - counts[slot]

    while sum(counts.values()) < patients:
        counts[max(counts, key=shortfall)] += 1
    while sum(counts.values()) > patients:
        counts[min((slot for slot in counts if counts[slot] > at_least), key=shortfall)] -= 1
    return counts


def _is_handheld(device: pd.Series, names: tuple[str, ...]) -> pd.Series:
    return (
        device.str.lower()
        .map(lambda text: any(name.lower() in text for name in names), na_action="ignore")
        .eq(True)
    )
