"""A run from config to table: stage 1, stage 2, evaluation."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
import yaml

from bsou_dist.common.errors import InputError
from bsou_dist.common.files import write_text
from bsou_dist.engine.checkpoint import CheckpointFailed
from bsou_dist.engine.health import check_health
from bsou_dist.engine.make import check_optimizer
from bsou_dist.engine.processes import Processes, start_processes
from bsou_dist.engine.speed import check_speed
from bsou_dist.engine.stopping import Stopped
from bsou_dist.experiment.config import RunConfig
from bsou_dist.experiment.context import Context
from bsou_dist.experiment.corpus import Corpus, load_corpus, share_corpus
from bsou_dist.experiment.finetune import check_finetune, finetune
from bsou_dist.experiment.joined_cache import FOLDER, JoinedCache
from bsou_dist.experiment.lock import check_unlocked, locked
from bsou_dist.experiment.pretrain import check_pretrain, pretrain
from bsou_dist.experiment.record import (
    CONFIG_NAME,
    DATA_NAME,
    DataRecord,
    check_stage1,
    data_record,
    read_run,
    stage1_of,
)
from bsou_dist.experiment.results import write_results
from bsou_dist.feed.decode.make import check_installed
from bsou_dist.feed.quarantine import FILES, quarantined
from bsou_dist.model.norm import check_norm
from bsou_dist.tracking.mlflow_tracker import MlflowTracker, resend
from bsou_dist.tracking.tracker import NullTracker, flatten

SPOOL_NAME = "tracking.jsonl"
MAY_CHANGE = (
    "output",
    "engine.name",
    "engine.zero_stage",
    "engine.on_nonfinite",
    "engine.max_skips",
    "engine.hang_minutes",
    "checkpoint.every_minutes",
    "checkpoint.every_steps",
    "checkpoint.keep",
    "tracking.uri",
    "tracking.experiment",
    "tracking.line_every_s",
    "feed.threads",
    "feed.readers",
    "feed.prefetch",
    "feed.decoder",
    "data.shards",
    "data.cohort",
    "data.column_map",
    "data.pseudonym_key",
    "data.cache",
    "subgroups.bmi_edges",
    "subgroups.min_patients",
)
"""Keys that do not enter what is learned (but for rounding), so that a run may go on with other
values. Where the data lie may change; what they are is compared by their fingerprint.
"""
PLACE_OF_SOURCE = re.compile(r"data\.sources\.[^.]+\.(shards|cohort|column_map|pseudonym_key)")
"""Keys of the same kind, of each of several sources."""


def check(config: RunConfig, processes: int, device: str | None = None) -> None:
    """Find every mistake that can be found before training: config, tables, shards, labels, sizes,
    weights.

    `device` is that of another machine which will train, 'cpu' or 'cuda', and need not be there; by
    default it is this machine's.

    Raises:
        InputError: one message.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        check_installed(config.feed.decoder)
    check_unlocked(config.folder)
    _check_machine(config, device)
    corpus = load_corpus(config.data, list(config.used_tasks.values()), _cache(config, False))
    _check(config, Processes(0, processes, device), corpus)


def run(config: RunConfig, profile_steps: int | None = None) -> str:
    """Train and test as the config says, continuing what an earlier call left unfinished.

    All processes of a launcher call it. The first returns the result table (without stage 2, where
    the encoder is) and where to look, the others ''. With `profile_steps`, so many steps of each
    stage leave a trace in its folder.

    Raises:
        InputError: as `check`.
        NodeUnfit: a node cannot do its part.
        OtherRankFailed: another process has failed.
        Stopped: on every process, by a signal, once what was done is saved.
    """
    hang_s = 60 * config.engine.hang_minutes
    with start_processes(hang_s, config.folder) as processes, ExitStack() as locks:
        check_health(processes)
        check_installed(config.feed.decoder)
        _check_machine(config, processes.device)
        tasks = list(config.used_tasks.values())
        corpus = share_corpus(config.data, tasks, _cache(config, True), processes)
        context, notes = _check(config, processes, corpus)
        context = replace(context, profile_steps=profile_steps)
        locks.enter_context(locked(config.folder, processes))
        # Again: another job may have begun or ended meanwhile.
        _check_folder(config, context.corpus.record)
        # All have compared the folder with the config before the first one writes.
        processes.barrier()
        if processes.first:
            context = _begin(context, notes)
        processes.barrier()
        try:
            if config.pretrain:
                pretrain(context, config.pretrain)
            if config.finetune:
                finetune(context, config.finetune)
            processes.check_stop()
        except (Stopped, CheckpointFailed):
            # A launcher may end all as soon as one is gone, and the first one has more to write.
            processes.barrier()
            raise
        if not processes.first:
            return ""
        with processes.signals.raised():
            return _end(context)


def _cache(config: RunConfig, may_write: bool) -> JoinedCache:
    """Where the runs of a folder keep their joined sources."""
    return JoinedCache(config.output / FOLDER if config.data.cache else None, may_write)


def _begin(context: Context, notes: list[str]) -> Context:
    """Put a run on record in its folder and open its tracker; what the first process alone does."""
    config = context.config
    spool = config.folder / SPOOL_NAME
    tracker = MlflowTracker(config.tracking_uri, config.tracking.experiment, spool)
    print(context.corpus.split_sizes().to_string(index=False), file=sys.stderr)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    write_text(config.folder / CONFIG_NAME, settings)
    write_text(config.folder / DATA_NAME, context.corpus.record.to_json())
    return replace(context, tracker=tracker)


def _end(context: Context) -> str:
    """Write the results of a run; the table, and where to look."""
    config = context.config
    damaged = quarantined(config.folder)
    if damaged:
        print(
            f"note: {len(damaged)} clips could not be decoded and were left out; "
            f"{config.folder}/{FILES} tells which and why",
            file=sys.stderr,
        )
    result = "stage 1 is done"
    if config.finetune:
        result = write_results(config, context.stage1, context.corpus.record.fingerprint)
    return f"{result}\n\nresults: {config.folder}\ntracking: {context.tracker.address}"


def evaluate(folder: Path) -> str:
    """Make the table of a finished run anew from its predictions, and report and records too.

    Raises:
        InputError: not a run folder, or a run that has not finished stage 2.
    """
    config = read_run(folder)
    if not config.finetune:
        raise InputError(
            f"{folder} has no stage 2, and so no predictions; add a 'finetune' section to its "
            "config"
        )
    return write_results(config, stage1_of(config), data_record(folder).fingerprint)


def resend_run(folder: Path) -> str:
    """Send to the tracking store what it missed of a run while it was down; a sentence about it.

    Raises:
        InputError: not a run folder, or the store is still out of reach.
    """
    config = read_run(folder)
    return f"{resend(folder / SPOOL_NAME, config.tracking_uri)} events are in {config.tracking_uri}"


def _check_machine(config: RunConfig, device: str) -> None:
    """InputError if a device or an engine cannot do what a config wants."""
    check_speed(config.engine, device)
    check_norm(config.encoder.norm, device)
    for stage in (config.pretrain, config.finetune):
        if stage:
            check_optimizer(config.engine, stage.optim)


def _check(config: RunConfig, processes: Processes, corpus: Corpus) -> tuple[Context, list[str]]:
    """Make the context of a run that can be done, and sentences about what it leaves out."""
    _check_label_columns(config, corpus)
    _check_folder(config, corpus.record)
    stage1 = stage1_of(config)
    check_stage1(config, stage1, corpus.record)
    context = Context(config, corpus, processes, NullTracker(), stage1)
    notes = list(corpus.notes)
    if config.pretrain:
        notes += check_pretrain(context, config.pretrain)
    if config.finetune:
        notes += check_finetune(context, config.finetune)
    return context, notes


def _check_label_columns(config: RunConfig, corpus: Corpus) -> None:
    """InputError if the cohort lacks the label column of a task that is used."""
    columns = [name for name in corpus.cohort.columns if name != "line"]
    faults = []
    for name, task in config.used_tasks.items():
        if task.label not in columns:
            place = config.tasks.place(name)
            faults.append(f"{place}.label: task {name!r} reads column {task.label!r}")
    if faults:
        cohorts = " and ".join(str(source.cohort) for source in config.data.by_name.values())
        raise InputError(
            f"{'; '.join(faults)}; {cohorts} does not have it. It has {', '.join(columns)}"
        )


def _may_change(key: str) -> bool:
    return key in MAY_CHANGE or PLACE_OF_SOURCE.fullmatch(key) is not None


def _check_folder(config: RunConfig, data: DataRecord) -> None:
    """InputError if the run's folder holds a run of another config or on other data."""
    if not (config.folder / CONFIG_NAME).is_file():
        return
    before = flatten(read_run(config.folder).described())
    now = flatten(config.described())
    differing = [
        f"  {key}: {before.get(key)} there, {now.get(key)} now"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key) and not _may_change(key)
    ]
    if differing:
        raise InputError(
            f"{config.folder} holds a run of another config; give this one another name, or go on "
            "with the old values:\n" + "\n".join(differing)
        )
    if not data.agrees_with(data_record(config.folder)):
        raise InputError(
            f"{config.folder} holds a run on other data: clips, labels or splits have changed "
            "since it was begun, and patients may have changed sides. Give this run another name, "
            "or restore the data"
        )
