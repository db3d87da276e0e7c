"""The state of a shard folder: not begun, begun (with a part per finished shard), or finished."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from bsou_dist.common.errors import InputError
from bsou_dist.common.files import write_text
from bsou_dist.packing.plan import PackPlan
from bsou_dist.packing.shard_record import (
    GIVEN_UP,
    DamagedRecord,
    ShardRecord,
    read_record,
    shard_name,
    write_record,
)
from bsou_dist.shards.manifest import (
    FORMAT_VERSION,
    PARTS_NAME,
    SUMMARY_NAME,
    manifest_of,
    read_summary,
    write_manifest,
)

_BEGUN_NAME = "begun.json"
_GIVEN_UP_NOTE = (
    f"clips {GIVEN_UP} could not be opened or took too much, twice; when that is mended, pack "
    "again into "
    "a new folder"
)


class PackFailed(Exception):
    """Packing cannot go on; the message says why. What was packed stays, and the same command goes
    on from there.
    """


@dataclass(frozen=True)
class PackSummary:
    """What a finished folder holds. `rejects` counts clips by reason; `bytes` are of clip
    members.
    """

    clips: int
    shards: int
    frames: int
    bytes: int
    rejects: dict[str, int]
    clips_without_spacing: int
    clips_losing_depth: int

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.clips} clips ({self.frames} frames, {self.bytes / 1e6:.1f} MB) in "
                f"{self.shards} shards; "
                f"{self.clips_without_spacing} without pixel spacing, {self.clips_losing_depth} "
                "that lose depth",
                f"rejected: {sum(self.rejects.values())}",
                *(f"  {count} {reason}" for reason, count in self.rejects.items()),
                *([_GIVEN_UP_NOTE] if GIVEN_UP in self.rejects else []),
            ]
        )


@dataclass(frozen=True)
class Merged:
    """All parts of a plan as one manifest, and the reasons of rejects by clip pseudonym."""

    manifest: pa.Table
    reasons: dict[str, str]
    clips_losing_depth: int

    @property
    def rejects(self) -> dict[str, int]:
        """Counts by reason."""
        return dict(sorted(Counter(map(reason_class, self.reasons.values())).items()))


def reason_class(reason: str) -> str:
    """What rejects are counted by."""
    return reason.split(":")[0]


class ShardFolder:
    """A folder made from one recipe (configuration, cohort, pseudonym key), and from no other."""

    def __init__(self, out: Path, recipe: dict[str, Any]) -> None:
        self.path = out
        self.recipe: dict[str, Any] = json.loads(
            json.dumps(recipe)
        )  # as it reads back: tuples are lists
        self._parts = out / PARTS_NAME

    def finished(self) -> PackSummary | None:
        """The summary, if this recipe has made the whole folder.

        Raises:
            InputError: it was made from another recipe.
        """
        if not (self.path / SUMMARY_NAME).is_file():
            return None
        summary = read_summary(self.path)
        self._check_recipe(summary["recipe"])
        shutil.rmtree(
            self._parts, ignore_errors=True
        )  # there if the last run was stopped at the very end
        return PackSummary(**summary["counts"])

    def check(self) -> None:
        """InputError if the folder was begun from another recipe, or holds something else."""
        if is_begun(self.path):
            self._check_recipe(json.loads((self._parts / _BEGUN_NAME).read_text()))
        else:
            check_place(self.path)

    def check_begin(self) -> None:
        """As `check`, but what was begun and holds no shard yet may be begun from another
        recipe.
        """
        if (
            not is_begun(self.path)
            or any(self._parts.glob("[0-9]*.json"))
            or any(self.path.glob("*.tar"))
        ):
            self.check()

    def begin(self) -> None:
        """Make the folder ready for parts; InputError as `check_begin`."""
        self.check_begin()
        if recipe_of(self.path) != self.recipe:
            self._parts.mkdir(parents=True, exist_ok=True)
            write_text(self._parts / _BEGUN_NAME, json.dumps(self.recipe))

    @contextmanager
    def claimed(self, number: int) -> Iterator[None]:
        """Keep a shard for this process alone; the claim ends with it, however it dies.

        Raises:
            InputError: another process is writing this shard, or has finished or abandoned the
                folder.
        """
        # before the lock too, which would make the folder of parts anew
        self._refuse_unless_begun()
        try:
            with FileLock(self._parts / f"{shard_name(number)}.lock", blocking=False):
                self._refuse_unless_begun()
                yield
        except Timeout:
            raise InputError(
                f"another process is packing into {self.path} (shard {shard_name(number)}); wait "
                "for it, "
                "or end it and give the command again"
            ) from None

    def pending(self, plan: PackPlan, numbers: range) -> tuple[list[int], list[str]]:
        """Which of these shards are still to be packed, and what is wrong with those that have a
        record already.
        """
        pending, faults = [], []
        for number in numbers:
            if not self._part(number).is_file():
                pending.append(number)
                continue
            try:
                self._read(plan, number)
            except DamagedRecord as fault:
                pending.append(number)
                faults.append(f"shard {shard_name(number)} is packed again: {fault}")
        return pending, faults

    def is_packed(self, plan: PackPlan, number: int) -> bool:
        """Whether a shard and its record are whole."""
        return not self.pending(plan, range(number, number + 1))[0]

    def unsettled(self, plan: PackPlan, numbers: range) -> dict[int, ShardRecord]:
        """Those of these shards that are packed without clips which are worth a second attempt."""
        parts = {
            number: self._read(plan, number) for number in numbers if self.is_packed(plan, number)
        }
        return {
            number: part for number, part in parts.items() if part.given_up and not part.settled
        }

    def write_record(self, number: int, part: ShardRecord) -> None:
        """Record shard `number` as finished; its files must have their names by now.

        Raises:
            InputError: another process has finished or abandoned the folder, or begun it anew.
        """
        self._refuse_unless_begun()
        write_record(self._part(number), part)

    def forget_record(self, number: int) -> None:
        """Shard `number` shall be packed again."""
        self._part(number).unlink(missing_ok=True)

    def merge(self, plan: PackPlan) -> Merged:
        """All parts as one, every planned clip in it exactly once.

        Raises:
            PackFailed: a part or a shard is missing or damaged.
        """
        tables, reasons, losing_depth, faults = [], dict[str, str](), 0, []
        for number in plan.shards:
            try:
                part = self._read(plan, number)
            except DamagedRecord as fault:
                faults.append(f"  shard {shard_name(number)}: {fault}")
                continue
            tables.append(manifest_of(part.rows))
            reasons |= part.rejects
            losing_depth += part.clips_losing_depth
        if faults:
            raise PackFailed(
                "\n".join(
                    [f"{self.path} is not whole; the same command packs what is missing", *faults]
                )
            )
        return Merged(pa.concat_tables(tables).combine_chunks(), reasons, losing_depth)

    def finish(self, merged: Merged) -> PackSummary:
        """Write the manifest, then `shards.json`, which makes the folder whole, and drop the
        parts.
        """
        manifest = merged.manifest
        summary = PackSummary(
            clips=len(manifest),
            shards=pc.count_distinct(manifest["shard"]).as_py(),
            frames=pc.sum(manifest["frames"]).as_py(),
            bytes=pc.sum(manifest["size"]).as_py(),
            rejects=merged.rejects,
            clips_without_spacing=manifest["mm_per_px"].null_count,
            clips_losing_depth=merged.clips_losing_depth,
        )
        write_manifest(manifest, self.path)
        record = {
            "format_version": FORMAT_VERSION,
            "recipe": self.recipe,
            "counts": asdict(summary),
        }
        write_text(self.path / SUMMARY_NAME, json.dumps(record, indent=2) + "\n")
        shutil.rmtree(self._parts)
        return summary

    def abandon(self) -> None:
        """Forget the parts: nothing was worth keeping, and mended files deserve another try."""
        shutil.rmtree(self._parts)

    def _read(self, plan: PackPlan, number: int) -> ShardRecord:
        return read_record(self._part(number), self.path, number, plan.clips(plan.rows_of(number)))

    def _refuse_unless_begun(self) -> None:
        if not is_begun(self.path):
            raise InputError(
                f"{self.path} was finished, abandoned or removed by another process while this "
                "one was "
                "packing into it; give the command again to see what is left to do"
            )
        self.check()

    def _part(self, number: int) -> Path:
        return self._parts / f"{shard_name(number)}.json"

    def _check_recipe(self, found: dict[str, Any]) -> None:
        ours, theirs = _flat(self.recipe), _flat(found)
        differences = [
            f"{name} was {theirs.get(name)!r} and is now {ours.get(name)!r}"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]
        if differences:
            raise InputError(
                f"{self.path} was packed differently: {'; '.join(differences)}; name a new "
                "folder, or "
                "pack as before (cohort and pseudonym_key are fingerprints of the table and of "
                "the key)"
            )


def check_place(out: Path) -> None:
    """InputError if there is something else than shards, begun or finished, or room for new
    ones.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a new folder for the shards")
    if (
        recipe_of(out) is None
        and out.is_dir()
        and any(path.name != PARTS_NAME for path in out.iterdir())
    ):
        raise InputError(
            f"{out} is not empty and holds no shards of this program; name a new folder"
        )


def is_begun(out: Path) -> bool:
    """Whether packing into a folder has begun and not come to its end."""
    return (out / PARTS_NAME / _BEGUN_NAME).is_file()


def recipe_of(out: Path) -> dict[str, Any] | None:
    """What a folder that was begun or finished is made from; None if it is neither."""
    if is_begun(out):
        begun: dict[str, Any] = json.loads((out / PARTS_NAME / _BEGUN_NAME).read_text())
        return begun
    return read_summary(out)["recipe"] if (out / SUMMARY_NAME).is_file() else None


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
