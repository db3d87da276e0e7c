"""Embeddings of any shards by the encoder of a finished stage 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.engine.checkpoint import BEST
from bsou_dist.engine.processes import start_processes
from bsou_dist.experiment.embeddings import EMBED_BATCH, encoder_of, write_embeddings
from bsou_dist.experiment.methods import stage1_encoders
from bsou_dist.experiment.record import read_run
from bsou_dist.feed.dataset import ClipSet
from bsou_dist.feed.decode.make import check_installed
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.pixels import Pixels
from bsou_dist.feed.quarantine import Quarantine, forget_quarantined, quarantined
from bsou_dist.predict.forward import embed
from bsou_dist.shards.codec import EXTENSIONS, MAX_SIDE_PX
from bsou_dist.shards.manifest import read_manifest


def embed_shards(run: Path, shards: Path, out: Path, trusted: str | None = None) -> dict[str, str]:
    """Write key, pseudonyms and embedding of every clip of `shards`.

    The embedding of a clip that is left out, because it cannot be decoded or is not like the
    others, is NaN. All processes of a launcher call this; the first writes. A `trusted` factory of
    one's own may be called, should the run's encoder be made by it.

    Returns:
        Why clips were left out, by key.

    Raises:
        InputError: `run` has no finished stage 1 of one encoder, `shards` is no shard folder, or
            not one of its clips can be embedded.
    """
    config = read_run(run)
    encoder_names = list(stage1_encoders(config.pretrain)) if config.pretrain else []
    if len(encoder_names) != 1:
        raise InputError(
            f"{run} has {len(encoder_names)} encoders of stage 1; embedding wants a run with one "
            "(methods mtscon, mtce, ucon)"
        )
    check_installed(config.feed.decoder)
    encoder = encoder_of(run / encoder_names[0] / BEST, trusted=trusted)
    manifest = read_manifest(shards, judging=True)
    unlike = _unlike_the_others(shards, manifest)
    if unlike.notna().all():
        raise InputError(
            f"{shards} holds no clip that could be embedded (the first: {unlike.iloc[0]}); "
            f"'bsou verify {shards}' names all that is at fault"
        )
    no_labels: dict[str, np.ndarray] = {}
    is_fed = unlike.isna().to_numpy()
    clips = ClipSet(shards, manifest[is_fed], no_labels)
    with start_processes() as processes:
        rejects = out.parent / f"{out.stem}.rejects"
        if processes.first:
            forget_quarantined(rejects)  # of an earlier attempt
        processes.barrier()
        # Every clip may be at fault: whoever embeds wants what there is, and to be told the rest.
        quarantine = Quarantine(rejects, budget=len(clips), rank=processes.rank)
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
        found = embed(encoder, loader, processes, "embed", config.engine)
        is_any_decoded = processes.broadcast(found is not None and bool(found[1].any()))
        damaged = quarantined(rejects)
    if not is_any_decoded:
        raise InputError(
            f"no clip of {shards} could be decoded, and nothing was written; "
            f"'bsou verify {shards}' names all that is at fault"
        )
    if found is not None:
        embedded, is_decoded = found
        embedded[~is_decoded] = np.nan
        embeddings = np.full((len(manifest), embedded.shape[1]), np.nan, dtype=embedded.dtype)
        embeddings[is_fed] = embedded
        write_embeddings(out, manifest, embeddings)
    keys = manifest["key"]
    left_out = dict(zip(keys[~is_fed], unlike[~is_fed], strict=True))
    return left_out | damaged


def _unlike_the_others(shards_dir: Path, manifest: pd.DataFrame) -> pd.Series:
    """Why clips cannot be embedded together with most others, by row; missing where they can.

    A batch holds pictures of one size and codec.
    """
    reasons = pd.Series(None, index=manifest.index, dtype="object")
    sides = manifest[["height", "width"]]
    is_picture = sides.ge(1).all(axis="columns") & sides.le(MAX_SIDE_PX).all(axis="columns")
    reasons[~is_picture] = f"the manifest gives it a side that is not from 1 to {MAX_SIDE_PX} px"
    reasons[~manifest["codec"].isin(EXTENSIONS)] = "its codec is unknown"
    for shard in manifest["shard"].unique():
        if not (shards_dir / shard).is_file():
            reasons[manifest["shard"] == shard] = "its shard is missing"
    sound = manifest[reasons.isna()]
    if sound.empty:
        return reasons
    kinds = sound.groupby(["codec", "height", "width"]).ngroup()
    most_common = kinds.mode().iloc[0]
    others = kinds.index[kinds != most_common]
    reasons[others] = "its codec or size is not that of most clips"
    return reasons
