"""The packing of a cohort, from its table to the finished shard folder, step by step.

The same cohort, settings and pseudonym key give the same bytes, however often packing is stopped
and however many processes share the work.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd

from bsou_dist.cohort.table import Cohort
from bsou_dist.common.errors import InputError
from bsou_dist.common.files import check_private
from bsou_dist.common.worker_pool import Limits
from bsou_dist.packing.cohort_source import CohortSource
from bsou_dist.packing.encode_clip import PackConfig
from bsou_dist.packing.estimate import Estimate, check_disk, estimate_packing
from bsou_dist.packing.folder import PackSummary, ShardFolder, check_place, is_begun, recipe_of
from bsou_dist.packing.pack_shards import ShardPacker
from bsou_dist.packing.plan import ALL_SHARDS, PackPlan, Share, plan_clips
from bsou_dist.packing.private_folder import KEY_NAME, REJECTS_NAME, PrivateFolder
from bsou_dist.packing.reject_limit import MAX_REJECTS
from bsou_dist.packing.word_codes import code_words
from bsou_dist.shards.pseudonyms import Pseudonymizer, load_key, load_or_create_key

LIMITS = Limits(seconds=120, memory_mb=4096)
"""What a clip may take, unless told otherwise."""

FEW_CLIPS = 200
"""So many are packed before anyone has read an estimate."""

_THROWAWAY_KEY = bytes(32)  # of pseudonyms that an estimate needs and nobody ever sees


class Packer:
    """Packs a cohort into a shard folder.

    `run` does all of it. Its steps can also be taken one by one and by several processes, on one
    machine or many: the first calls `make_plan` and `begin`, any number of others `resume` and
    `pack_share`, each with its own share, and the last one `run`, which packs what is missing and
    finishes.

    A clip that cannot be read or is of no use is rejected with a reason, never an error: paths and
    reasons go to `private/rejects.csv`, counts to `shards.json`. The folder `private` also gets the
    pseudonym key, `keymap.parquet` (identities and paths to keys and pseudonyms) and `words.csv`
    (sites and devices to codes); it must be kept apart from the shards.

    Stopped and run again with the same arguments, it goes on after the last whole shard. A finished
    folder is left as it is.

    Attributes:
        summary: what the folder holds once it is finished, else None. Where `make_plan` or `resume`
            finds a finished folder, no other step is to be taken.
        plan: which clip gets which key and which shard; there after `make_plan` or `resume`, unless
            these find a finished folder.
        folder: the state of the shard folder; there after `make_plan` or `resume`.
        private: the private folder.

    Args:
        out: the shard folder: new, empty, or begun with the same cohort, `config` and key.
        private: folder outside `out`, readable by its owner only.
        config: how to pack.
        workers: processes that read and encode; 0 works in this process.
        limits: what a clip may take before it is rejected; with 0 workers there are none.
        max_rejects: share of the latest clips (up to 1000, and not before 100) above which packing
            stops.
        progress: show a progress bar.
    """

    plan: PackPlan
    folder: ShardFolder

    def __init__(
        self,
        out: Path,
        *,
        private: Path,
        config: PackConfig,
        workers: int = 2,
        limits: Limits = LIMITS,
        max_rejects: float = MAX_REJECTS,
        progress: bool = True,
    ) -> None:
        self.out = out
        self.private = PrivateFolder(private.absolute())
        self.config = config
        self.workers = workers
        self.limits = limits
        self.max_rejects = max_rejects
        self.progress = progress
        self.summary: PackSummary | None = None
        self._source: dict[str, Any] = {}  # which files the plan was made from
        self._words: pd.DataFrame | None = None  # what codes stand for, where the plan is new

    def run(self, cohort: Cohort | CohortSource) -> PackSummary:
        """Pack every clip of a cohort that is not packed yet, and finish the folder.

        Raises:
            InputError: as the steps; above all a column is missing, `private` lies inside `out`,
                `out` holds something else or was begun with another configuration, cohort or key,
                another process is packing into it, or every clip was rejected.
            PackFailed: too many clips were rejected, or shards went missing meanwhile.
        """
        self.make_plan(cohort)
        if self.summary is not None:
            return self.summary
        self.begin()
        self.pack_share(ALL_SHARDS)
        return self.finish()

    def make_plan(self, cohort: Cohort | CohortSource, *, keep_new_key: bool = True) -> None:
        """Decide which clip gets which key and which shard, without touching the shard folder.

        A folder that was begun from the same files goes on with the plan made then: reading a large
        cohort and looking for all its files takes minutes, and a file that went away meanwhile is a
        reject, but a fault of a new cohort.

        Args:
            cohort: one that was read, or the files to read it from if need be.
            keep_new_key: make the pseudonym key where there is none; an estimate does without.

        Raises:
            InputError: the cohort, or one of the folders, is not fit for packing.
        """
        source: dict[str, Any] = {}  # unknown of a cohort that comes as a table
        if isinstance(cohort, CohortSource):
            cohort.check_outside(self.out, self.private.path)
            begun_from = self.private.read_source() if is_begun(self.out) else None
            if begun_from and cohort.is_described_by(begun_from, self.config):
                self.resume()
                return
            cohort, source = cohort.read(self.config)

        out = self.out.absolute()
        if self.private.path == out or out in self.private.path.parents:
            raise InputError(
                f"the private folder {self.private.path} lies inside the shard folder {out}; name "
                "one outside it, because whoever gets the shards must not get the key"
            )
        check_place(out)
        check_private(self.private.path)
        pseudonymizer = Pseudonymizer(self._pseudonym_key(keep_new_key))
        root = cohort.root.absolute()
        table, self._words = code_words(
            cohort.table, self.config.words, cohort.codes, pseudonymizer
        )
        self.plan = plan_clips(table, root, self.config.shard_clips, pseudonymizer)
        recipe = {
            "config": self.config.recipe(),
            "cohort": self.plan.fingerprint(),
            "pseudonym_key": pseudonymizer.fingerprint,
        }
        self.folder = ShardFolder(out, recipe)
        self._source = source
        self.summary = self.folder.finished()
        if self.summary is None:
            self.folder.check_begin()
        else:
            self.private.forget_plan()  # there if the last run was stopped at the very end

    def resume(self) -> None:
        """Take the plan that `begin` kept, in this process or another; the cohort is not read.

        Raises:
            InputError: nothing was begun, or with another configuration, or another key is there
                now.
        """
        out = self.out.absolute()
        begun_recipe = recipe_of(out)
        if begun_recipe is None:
            raise InputError(
                f"{out} is not begun, and a share of the work is only known then; give the same "
                "command with --begin instead of --share first"
            )
        check_private(self.private.path)
        pseudonymizer = Pseudonymizer(self._pseudonym_key(keep_new=False))
        recipe = {
            **begun_recipe,
            "config": self.config.recipe(),
            "pseudonym_key": pseudonymizer.fingerprint,
        }
        self.folder = ShardFolder(out, recipe)
        self.summary = self.folder.finished()
        if self.summary is None:
            self.folder.check()
            self.plan = self.private.read_plan(recipe["cohort"], self.config.shard_clips)
            self._source = self.private.read_source() or {}

    def _pseudonym_key(self, keep_new: bool) -> bytes:
        """Find the pseudonym key; a new one is made only where nothing was begun with another."""
        path = self.private.path / KEY_NAME
        out = self.out.absolute()
        if recipe_of(out) is None:
            if keep_new or path.is_file():
                return load_or_create_key(path)
            return _THROWAWAY_KEY
        if not path.is_file():
            raise InputError(
                f"{out} was packed with a pseudonym key, and {path} is missing; restore it, or "
                "name the private folder that it is in with --private"
            )
        return load_key(path)

    def estimate(self, *, jobs: int = 1, at_least: int = 1) -> Estimate | None:
        """Print what packing the clips that are missing will take, from a few that are tried.

        Nothing of it is kept. None, and nothing is printed, if fewer than `at_least` are missing.
        `jobs` is how many processes like this one will share the work at once.

        Raises:
            InputError: the disk clearly has too little room.
        """
        pending, _ = self.folder.pending(self.plan, self.plan.shards)
        if self._clip_count(pending) < at_least:
            return None
        estimated = estimate_packing(
            self.plan,
            pending,
            self.folder.path,
            self.config,
            workers=self.workers,
            jobs=jobs,
            limits=self.limits,
        )
        print(estimated, flush=True)
        check_disk(estimated, self.out)
        return estimated

    def begin(self, *, jobs: int = 1) -> None:
        """Make the folder ready for `pack_share`, after an estimate where there is much to pack.

        `jobs` is for the estimate.

        Raises:
            InputError: as `estimate`, or the folder was begun with something else meanwhile.
        """
        self.estimate(jobs=jobs, at_least=FEW_CLIPS)
        self.folder.begin()
        if self._words is not None:
            self.private.write_words(self._words)
        self.private.write_plan(self.plan, self.folder.recipe["cohort"], self._source)

    def pack_share(self, share: Share) -> None:
        """Pack what is missing of a share of the shards.

        Clips that were given up for a reason that may pass, now or by an earlier run, are tried
        once more at the end.

        Raises:
            InputError: another process is writing a shard of this share, or has finished the
                folder.
            PackFailed: too many clips were rejected; shards of this run that lost more than
                `max_rejects` of theirs are not kept.
        """
        shards = share.shards(self.plan)
        pending, faults = self.folder.pending(self.plan, shards)
        for fault in faults:
            print(f"note: {fault}", file=sys.stderr)
        packer = ShardPacker(
            self.plan, self.folder, self.config, self.workers, self.limits, self.progress
        )
        clips_before = self._clip_count(shards) - self._clip_count(pending)
        packer.pack(pending, max_rejects=self.max_rejects, clips_before=clips_before)

        shards_to_repack = packer.retry_given_up(shards)
        if shards_to_repack:
            # Shards that had all kinds of rejects already say nothing about the latest clips.
            packer.pack(shards_to_repack, max_rejects=1.0)

    def finish(self) -> PackSummary:
        """Merge the records of all shards, with every clip there once; write manifest and map.

        Raises:
            PackFailed: a shard is missing or damaged.
            InputError: every clip was rejected.
        """
        merged = self.folder.merge(self.plan)
        self.private.write_results(self.plan, merged.reasons)
        if not len(merged.manifest):
            self.folder.abandon()
            counts = ", ".join(f"{count} {reason}" for reason, count in merged.rejects.items())
            example = next(iter(merged.reasons.values()))
            raise InputError(
                f"none of the {len(self.plan.table)} clips could be packed ({counts}); "
                f"{self.private.path / REJECTS_NAME} says why for each, for example: {example}"
            )
        self.summary = self.folder.finish(merged)
        self.private.forget_plan()
        return self.summary

    def _clip_count(self, shards: list[int] | range) -> int:
        return sum(len(self.plan.rows_of(number)) for number in shards)
