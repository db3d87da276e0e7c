"""The state of a shard folder: not begun, begun (with a record per finished shard), or finished."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
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
    reason_class,
    shard_name,
    write_record,
)
from bsou_dist.shards.manifest import (
    FORMAT_VERSION,
    PARTS_NAME,
    SUMMARY_NAME,
    counted_notes,
    manifest_of,
    read_summary,
    write_manifest,
)

_BEGUN_NAME = "begun.json"


class PackFailed(Exception):
    """Packing cannot go on; the message says why.

    What was packed stays, and the same command goes on from there.
    """


@dataclass(frozen=True)
class PackSummary:
    """What a finished folder holds.

    `rejects` counts clips by reason and `notes` by class of note; `bytes` are those of the clips,
    without tar and JSON.
    """

    clips: int
    shards: int
    frames: int
    bytes: int
    rejects: dict[str, int]
    clips_without_spacing: int
    notes: dict[str, int]

    def __str__(self) -> str:
        lines = [
            f"{self.clips} clips ({self.frames} frames, {self.bytes / 1e6:.1f} MB) in "
            f"{self.shards} shards; {self.clips_without_spacing} without pixel spacing",
            f"rejected: {sum(self.rejects.values())}",
        ]
        lines += [f"  {count} {reason}" for reason, count in self.rejects.items()]
        if self.notes:
            lines.append("noted, in the manifest's column notes:")
            lines += [f"  {count} {note}" for note, count in self.notes.items()]
        if GIVEN_UP in self.rejects:
            lines.append(
                f"clips {GIVEN_UP} could not be opened or took too much, twice; when that is "
                "mended, pack again into a new folder"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class MergedRecords:
    """All records of a plan as one manifest, and the reasons of rejects by clip pseudonym."""

    manifest: pa.Table
    reasons: dict[str, str]

    @property
    def rejects(self) -> dict[str, int]:
        """Counts of rejects by class of reason."""
        counts = Counter(reason_class(reason) for reason in self.reasons.values())
        return dict(sorted(counts.items()))


class ShardFolder:
    """A folder made from one recipe (configuration, cohort, pseudonym key), and from no other."""

    def __init__(self, path: Path, recipe: dict[str, Any]) -> None:
        self.path = path
        # As it reads back from JSON, where tuples are lists.
        self.recipe: dict[str, Any] = json.loads(json.dumps(recipe))
        self._records_dir = path / PARTS_NAME

    # The folder as a whole: from not begun to finished.

    def finished(self) -> PackSummary | None:
        """Read the summary, if this recipe has made the whole folder.

        Raises:
            InputError: it was made from another recipe.
        """
        if not (self.path / SUMMARY_NAME).is_file():
            return None
        summary = read_summary(self.path)
        self._check_recipe(summary["recipe"])
        # Records are still there if the last run was stopped at the very end.
        shutil.rmtree(self._records_dir, ignore_errors=True)
        return PackSummary(**summary["counts"])

    def check(self) -> None:
        """InputError if the folder was begun from another recipe, or holds something else."""
        if is_begun(self.path):
            self._check_recipe(_begun_recipe(self.path))
        else:
            check_place(self.path)

    def check_begin(self) -> None:
        """InputError as `check`, but a folder begun without a shard may change its recipe."""
        has_shards = any(self._records_dir.glob("[0-9]*.json")) or any(self.path.glob("*.tar"))
        if has_shards or not is_begun(self.path):
            self.check()

    def begin(self) -> None:
        """Make the folder ready for records; InputError as `check_begin`."""
        self.check_begin()
        if recipe_of(self.path) != self.recipe:
            self._records_dir.mkdir(parents=True, exist_ok=True)
            write_text(self._records_dir / _BEGUN_NAME, json.dumps(self.recipe))

    def merge(self, plan: PackPlan) -> MergedRecords:
        """Read the records of all shards, with every planned clip in them exactly once.

        Raises:
            PackFailed: a record or a shard is missing or damaged.
        """
        manifests = []
        reasons: dict[str, str] = {}
        faults = []
        for number in plan.shards:
            try:
                record = self._read_record(plan, number)
            except DamagedRecord as fault:
                faults.append(f"  shard {shard_name(number)}: {fault}")
                continue
            manifests.append(manifest_of(record.rows))
            reasons |= record.rejects
        if faults:
            first = f"{self.path} is not whole; the same command packs what is missing"
            raise PackFailed("\n".join([first, *faults]))
        manifest = pa.concat_tables(manifests).combine_chunks()
        return MergedRecords(manifest, reasons)

    def finish(self, merged: MergedRecords) -> PackSummary:
        """Write the manifest, then `shards.json`, which makes the folder whole."""
        manifest = merged.manifest
        summary = PackSummary(
            clips=len(manifest),
            shards=pc.count_distinct(manifest["shard"]).as_py(),
            frames=pc.sum(manifest["frames"]).as_py(),
            bytes=pc.sum(manifest["size"]).as_py(),
            rejects=merged.rejects,
            clips_without_spacing=manifest["mm_per_px"].null_count,
            notes=counted_notes(manifest["notes"].to_pylist()),
        )
        write_manifest(manifest, self.path)
        content = {
            "format_version": FORMAT_VERSION,
            "recipe": self.recipe,
            "counts": asdict(summary),
        }
        write_text(self.path / SUMMARY_NAME, json.dumps(content, indent=2) + "\n")
        shutil.rmtree(self._records_dir)
        return summary

    def abandon(self) -> None:
        """Drop the records: nothing was worth keeping, and mended files deserve another try."""
        shutil.rmtree(self._records_dir)

    # One shard: claimed, written, recorded.

    def pending(self, plan: PackPlan, shards: Sequence[int]) -> tuple[list[int], list[str]]:
        """Find which of these shards are to be packed, and what is wrong with those that were."""
        pending = []
        faults = []
        for number in shards:
            if not self._record_path(number).is_file():
                pending.append(number)
                continue
            try:
                self._read_record(plan, number)
            except DamagedRecord as fault:
                pending.append(number)
                faults.append(f"shard {shard_name(number)} is packed again: {fault}")
        return pending, faults

    def is_packed(self, plan: PackPlan, number: int) -> bool:
        """Whether a shard and its record are whole."""
        pending, _ = self.pending(plan, [number])
        return not pending

    def unsettled(self, plan: PackPlan, shards: Sequence[int]) -> dict[int, ShardRecord]:
        """Find those of these shards that lack clips which are worth a second attempt."""
        unsettled = {}
        for number in shards:
            if not self.is_packed(plan, number):
                continue
            record = self._read_record(plan, number)
            if record.given_up and not record.settled:
                unsettled[number] = record
        return unsettled

    @contextmanager
    def claimed(self, number: int) -> Iterator[None]:
        """Keep a shard for this process alone; the claim ends with it, however it dies.

        Raises:
            InputError: another process is writing this shard, or has finished or abandoned the
                folder.
        """
        # Before the lock too, which would make the folder of records anew.
        self._refuse_unless_begun()
        try:
            with FileLock(self._records_dir / f"{shard_name(number)}.lock", blocking=False):
                self._refuse_unless_begun()
                yield
        except Timeout:
            raise InputError(
                f"another process is packing into {self.path} (shard {shard_name(number)}); wait "
                "for it, or end it and give the command again"
            ) from None

    def write_record(self, number: int, record: ShardRecord) -> None:
        """Record shard `number` as finished; its files must have their names by now.

        Raises:
            InputError: another process has finished or abandoned the folder, or begun it anew.
        """
        self._refuse_unless_begun()
        write_record(self._record_path(number), record)

    def forget_record(self, number: int) -> None:
        """Make shard `number` one that is to be packed."""
        self._record_path(number).unlink(missing_ok=True)

    def _record_path(self, number: int) -> Path:
        return self._records_dir / f"{shard_name(number)}.json"

    def _read_record(self, plan: PackPlan, number: int) -> ShardRecord:
        return read_record(self._record_path(number), self.path, number, plan.clips_of(number))

    def _refuse_unless_begun(self) -> None:
        if not is_begun(self.path):
            raise InputError(
                f"{self.path} was finished, abandoned or removed by another process while this "
                "one was packing into it; give the command again to see what is left to do"
            )
        self.check()

    def _check_recipe(self, found: dict[str, Any]) -> None:
        """InputError that names what is different, if the folder was made from another recipe."""
        was = _flat(found)
        now = _flat(self.recipe)
        differences = [
            f"{name} was {was.get(name)!r} and is now {now.get(name)!r}"
            for name in sorted(was.keys() | now.keys())
            if was.get(name) != now.get(name)
        ]
        if differences:
            raise InputError(
                f"{self.path} was packed differently: {'; '.join(differences)}; name a new "
                "folder, or pack as before (cohort and pseudonym_key are fingerprints of the "
                "table and of the key)"
            )


def check_place(out: Path) -> None:
    """InputError unless shards, begun or finished, are or could be in a folder."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file; name a new folder for the shards")
    # An empty folder of records may be left of a run that was stopped before it began.
    has_other_files = any(path.name != PARTS_NAME for path in out.iterdir())
    if has_other_files and recipe_of(out) is None:
        raise InputError(
            f"{out} is not empty and holds no shards of this program; name a new folder"
        )


def is_begun(out: Path) -> bool:
    """Whether packing into a folder has begun and not come to its end."""
    return (out / PARTS_NAME / _BEGUN_NAME).is_file()


def recipe_of(out: Path) -> dict[str, Any] | None:
    """Read what a folder that was begun or finished is made from; None if it is neither."""
    if is_begun(out):
        return _begun_recipe(out)
    if not (out / SUMMARY_NAME).is_file():
        return None
    recipe: dict[str, Any] = read_summary(out)["recipe"]
    return recipe


def _begun_recipe(out: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads((out / PARTS_NAME / _BEGUN_NAME).read_text())
    return recipe


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings of sections with dotted names, such as prepare.size_px."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
