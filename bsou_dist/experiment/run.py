"""A run from config to table: stage 1, stage 2, evaluation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from bsou_dist.engine.processes import Processes, start_processes
from bsou_dist.errors import InputError
from bsou_dist.experiment.config import RunConfig
from bsou_dist.experiment.context import QUARANTINE, Context
from bsou_dist.experiment.corpus import load_corpus
from bsou_dist.experiment.finetune import check_finetune, finetune, prediction_files
from bsou_dist.experiment.pretrain import check_pretrain, pretrain
from bsou_dist.experiment.results import write_results
from bsou_dist.tracking.tracker import NullTracker, Tracker

CONFIG_NAME = "run.yaml"
MAY_CHANGE = ("output", "engine", "tracking", "feed.threads", "feed.prefetch", "feed.decoder")
"""Keys that do not enter what is learned (but for rounding), so that a run may go on with other values."""


def check(config: RunConfig, processes: int) -> None:
    """Find every mistake that can be found before training: config, tables, shards, labels, sizes.

    Raises:
        InputError: one message.
    """
    _check_folder(config)
    _check(Context(config, load_corpus(config.data), Processes(0, processes, "cpu"), NullTracker()))


def run(config: RunConfig) -> str:
    """Train and test as the config says, continuing what an earlier call left unfinished.

    All processes of a launcher call it. The first returns the result table (without stage 2, where the encoder is) and
    where to look, the others ''.

    Raises:
        InputError: as `check`.
    """
    with start_processes() as processes:
        _check_folder(config)
        corpus = load_corpus(config.data)
        context = Context(config, corpus, processes, _tracker(config, processes))
        _check(context)
        if processes.first:
            for note in corpus.notes:
                print(f"note: {note}", file=sys.stderr)
            config.folder.mkdir(parents=True, exist_ok=True)
            (config.folder / CONFIG_NAME).write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        processes.wait()
        if config.pretrain:
            pretrain(context, config.pretrain)
        if config.finetune:
            finetune(context, config.finetune)
        if not processes.first:
            return ""
        if quarantined := context.quarantined():
            print(f"note: {len(quarantined)} clips could not be decoded and were left out; "
                  f"{config.folder}/{QUARANTINE.format('*')} tells which and why", file=sys.stderr)
        if not config.finetune:
            return f"encoder: {config.folder}\ntracking: {context.tracker.address}"
        return (f"{write_results(config, prediction_files(config), context.method, corpus.fingerprint)}\n\n"
                f"results: {config.folder}\ntracking: {context.tracker.address}")


def evaluate(folder: Path) -> str:
    """The table of a finished run, anew from its predictions; report and records are written again.

    Raises:
        InputError: not a run folder, or a run that has not finished stage 2.
    """
    config = read_run(folder)
    if not config.finetune:
        raise InputError(f"{folder} has no stage 2, and so no predictions; add a 'finetune' section to its config")
    corpus = load_corpus(config.data)
    context = Context(config, corpus, Processes(0, 1, "cpu"), NullTracker())
    return write_results(config, prediction_files(config), context.method, corpus.fingerprint)


def _check(context: Context) -> None:
    if context.config.pretrain:
        check_pretrain(context, context.config.pretrain)
    if context.config.finetune:
        check_finetune(context, context.config.finetune)


def _tracker(config: RunConfig, processes: Processes) -> Tracker:
    if not processes.first:
        return NullTracker()
    from bsou_dist.tracking.mlflow_tracker import MlflowTracker  # takes seconds to import, on this process only

    return MlflowTracker(config.tracking_uri, config.tracking.experiment, config.folder / "tracking.jsonl")


def read_run(folder: Path) -> RunConfig:
    """The config of a run that was started.

    Raises:
        InputError: not a run folder.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise InputError(f"{folder} is not the folder of a run (no {CONFIG_NAME}); 'bsou train CONFIG' makes one")
    return RunConfig.model_validate(yaml.safe_load(path.read_text())).model_copy(update={"output": folder.parent})


def _check_folder(config: RunConfig) -> None:
    """InputError if the run's folder holds a run of another config."""
    path = config.folder / CONFIG_NAME
    if not path.is_file():
        return
    before = _flat(yaml.safe_load(path.read_text()))
    now = _flat(config.model_dump(mode="json"))
    differing = [f"  {key}: {before.get(key)!r} there, {now.get(key)!r} now" for key in sorted({*before, *now})
                 if before.get(key) != now.get(key) and not key.startswith(MAY_CHANGE)]
    if differing:
        raise InputError(f"{config.folder} holds a run of another config; give this one another name, or go on with "
                         "the old values:\n" + "\n".join(differing))


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
