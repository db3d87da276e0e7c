"""The state of a shard folder: not begun, begun (with a part per finished shard), or finished."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bsou_dist.errors import InputError
from bsou_dist.files import write_text
from bsou_dist.shards.manifest import FORMAT_VERSION, PARTS_NAME, SUMMARY_NAME, read_summary, write_manifest

_BEGUN_NAME = "begun.json"


@dataclass(frozen=True)
class PackSummary:
    """What a finished folder holds. `rejects` counts clips by reason; `bytes` are of clip members."""

    clips: int
    shards: int
    frames: int
    bytes: int
    rejects: dict[str, int]
    clips_without_spacing: int
    clips_losing_depth: int

    def __str__(self) -> str:
        return "\n".join([
            f"{self.clips} clips ({self.frames} frames, {self.bytes / 1e6:.1f} MB) in {self.shards} shards; "
            f"{self.clips_without_spacing} without pixel spacing, {self.clips_losing_depth} that lose depth",
            f"rejected: {sum(self.rejects.values())}",
            *(f"  {count} {reason}" for reason, count in self.rejects.items()),
        ])


class ShardFolder:
    """A folder made from one recipe (configuration, cohort, pseudonym key), and from no other."""

    def __init__(self, out: Path, recipe: dict[str, Any]) -> None:
        self._out = out
        self._parts = out / PARTS_NAME
        self._recipe = json.loads(json.dumps(recipe))  # as it reads back: tuples are lists

    def finished(self) -> PackSummary | None:
        """The summary, if this recipe has made the whole folder.

        Raises:
            InputError: it was made from another recipe.
        """
        if not (self._out / SUMMARY_NAME).is_file():
            return None
        summary = read_summary(self._out)
        self._check_recipe(summary["recipe"])
        shutil.rmtree(self._parts, ignore_errors=True)  # there if the last run was stopped at the very end
        return PackSummary(**summary["counts"])

    def begin(self) -> None:
        """Make the folder ready for parts.

        Raises:
            InputError: it was begun from another recipe, or holds something else.
        """
        begun = self._parts / _BEGUN_NAME
        if begun.is_file():
            self._check_recipe(json.loads(begun.read_text()))
            return
        if self._out.is_dir() and any(path.name != PARTS_NAME for path in self._out.iterdir()):
            raise InputError(f"{self._out} is not empty and holds no shards of this program; name a new folder")
        self._parts.mkdir(parents=True, exist_ok=True)
        write_text(begun, json.dumps(self._recipe))

    def has_part(self, number: int) -> bool:
        """Whether shard `number` is finished."""
        return self._part(number).is_file()

    def write_part(self, number: int, part: dict[str, Any]) -> None:
        """Record shard `number` as finished; its files must have their names by now."""
        write_text(self._part(number), json.dumps(part))

    def read_part(self, number: int) -> dict[str, Any]:
        """What `write_part` recorded."""
        part: dict[str, Any] = json.loads(self._part(number).read_text())
        return part

    def finish(self, rows: list[dict[str, Any]], rejects: dict[str, int], clips_losing_depth: int) -> PackSummary:
        """Write the manifest, then `shards.json`, which makes the folder whole, and drop the parts."""
        summary = PackSummary(
            clips=len(rows),
            shards=len({row["shard"] for row in rows}),
            frames=sum(row["frames"] for row in rows),
            bytes=sum(row["size"] for row in rows),
            rejects=rejects,
            clips_without_spacing=sum(row["mm_per_px"] is None for row in rows),
            clips_losing_depth=clips_losing_depth,
        )
        write_manifest(rows, self._out)
        record = {"format_version": FORMAT_VERSION, "recipe": self._recipe, "counts": asdict(summary)}
        write_text(self._out / SUMMARY_NAME, json.dumps(record, indent=2) + "\n")
        shutil.rmtree(self._parts)
        return summary

    def abandon(self) -> None:
        """Forget the parts: nothing was worth keeping, and mended files deserve another try."""
        shutil.rmtree(self._parts)

    def _part(self, number: int) -> Path:
        return self._parts / f"{number:06d}.json"

    def _check_recipe(self, found: dict[str, Any]) -> None:
        ours, theirs = _flat(self._recipe), _flat(found)
        differences = [f"{name} was {theirs.get(name)!r} and is now {ours.get(name)!r}"
                       for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
        if differences:
            raise InputError(f"{self._out} was packed differently: {'; '.join(differences)}; name a new folder, or "
                             "pack as before (cohort and pseudonym_key are fingerprints of the table and of the key)")


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
