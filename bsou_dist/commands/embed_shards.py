"""Embeddings of any shards by the encoder of a finished stage 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bsou_dist.common.errors import InputError
from bsou_dist.engine.checkpoint import BEST
from bsou_dist.engine.processes import start_processes
from bsou_dist.experiment.embeddings import EMBED_BATCH, encoder_of, write_embeddings
from bsou_dist.experiment.methods import stage1_encoders
from bsou_dist.experiment.record import read_run
from bsou_dist.feed.dataset import ClipSet
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.pixels import Pixels
from bsou_dist.feed.quarantine import Quarantine, default_budget
from bsou_dist.predict.forward import embed
from bsou_dist.shards.manifest import read_manifest


def embed_shards(run: Path, shards: Path, out: Path) -> None:
    """Write key, pseudonyms and embedding of every clip of `shards`.

    The embedding of a clip that cannot be decoded is NaN. All processes of a launcher call this;
    the first writes.

    Raises:
        InputError: `run` has no finished stage 1 of one encoder, or `shards` is no shard folder.
    """
    config = read_run(run)
    encoder_names = list(stage1_encoders(config.pretrain)) if config.pretrain else []
    if len(encoder_names) != 1:
        raise InputError(
            f"{run} has {len(encoder_names)} encoders of stage 1; embedding wants a run with one "
            "(methods mtscon, mtce, ucon)"
        )
    encoder = encoder_of(run / encoder_names[0] / BEST)
    no_labels: dict[str, np.ndarray] = {}
    clips = ClipSet(shards, read_manifest(shards), no_labels)
    with start_processes() as processes:
        rejects = out.parent / f"{out.stem}.rejects"
        quarantine = Quarantine(rejects, default_budget(len(clips)), processes.rank)
        pixels = Pixels(
            clips,
            config.feed,
            augment=None,
            seed=config.seed,
            quarantine=quarantine,
            device=processes.device,
        )
        loader = Loader(
            clips,
            pixels,
            global_batch=EMBED_BATCH * processes.world,
            seed=config.seed,
            training=False,
            rank=processes.rank,
            world=processes.world,
        )
        embeddings, is_decoded = embed(encoder, loader, processes, "embed")
    embeddings[~is_decoded] = np.nan
    if processes.first:
        write_embeddings(out, clips.manifest, embeddings)
