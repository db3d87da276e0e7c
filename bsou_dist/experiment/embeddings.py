"""Encoders of stage 1, and the embeddings of clips by a frozen one, kept in a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bsou_dist.engine.checkpoint import BEST, load_checkpoint
from bsou_dist.engine.forward import embed
from bsou_dist.errors import InputError
from bsou_dist.experiment.context import Context
from bsou_dist.feed.clips import ClipSet
from bsou_dist.model.encoder import Encoder, EncoderConfig, build_encoder

ENCODER_PREFIX = "encoder."
EMBED_BATCH = 32  # clips per process; bounds memory, changes no embedding


def load_encoder(context: Context, source: str | None) -> Encoder:
    """The best encoder of the stage 1 named `source`, or a new one where there was no stage 1."""
    config = context.config
    if source is None:
        return build_encoder(config.encoder, frames=config.feed.frames, size_px=config.feed.size_px)
    return encoder_of(config.folder / source / BEST)


def encoder_of(path: Path) -> Encoder:
    """The encoder in a checkpoint of stage 1, or of a stage 2 that tuned one."""
    checkpoint = load_checkpoint(path)
    weights = {name.removeprefix(ENCODER_PREFIX): value for name, value in checkpoint.network.items()
               if name.startswith(ENCODER_PREFIX)}
    if not weights:
        raise InputError(f"{path} holds no encoder (it was tuned on a frozen one); give the stage 1 checkpoint")
    facts = checkpoint.facts
    config = EncoderConfig.model_validate(facts["encoder"] | {"weights": "none"})
    encoder = build_encoder(config, frames=facts["frames"], size_px=facts["size_px"])
    encoder.load_state_dict(weights)
    return encoder


def cached_embeddings(context: Context, encoder: Encoder, source: str, clips: ClipSet) -> np.ndarray:
    """Embeddings of clips by the frozen encoder of `source`, float32 (n, C); NaN where a clip could not be decoded.

    Kept beside the encoder's checkpoint, for all clips that stage 2 may ask for, until the checkpoint or the data
    change. Collective.
    """
    folder = context.config.folder / source
    identity = _sha256(folder / BEST) + context.corpus.fingerprint
    path = folder / "embeddings.parquet"
    fresh = not path.is_file() or (pq.read_schema(path).metadata or {}).get(b"identity", b"").decode() != identity
    context.processes.wait()  # all have looked before the first one writes
    if fresh:
        used = context.corpus.stage2_clips()
        loader = context.loader(used, context.pixels(used), global_batch=EMBED_BATCH * context.processes.world,
                                training=False)
        rows, there = embed(encoder, loader, context.processes, "embed")
        rows[~there] = np.nan
        if context.processes.first:
            write_embeddings(path, used.manifest, rows, identity)
        context.processes.wait()
    table = pd.read_parquet(path).set_index("key")["embedding"]
    return np.stack(table.loc[clips.key].to_list()).astype(np.float32)


def write_embeddings(path: Path, manifest: pd.DataFrame, rows: np.ndarray, identity: str) -> None:
    """Write key, pseudonyms and embedding (C floats) of every clip, whole or not at all."""
    table = pa.table({
        **{column: pa.array(manifest[column]) for column in ("key", "exam", "study", "patient", "sweep")},
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1]),
    }, metadata={"identity": identity})
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary)
    temporary.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
