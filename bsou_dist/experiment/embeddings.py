"""Encoders of stage 1, and the embeddings of clips by a frozen one, kept in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bsou_dist.common.errors import InputError
from bsou_dist.common.files import whole_file
from bsou_dist.engine.checkpoint import BEST, load_checkpoint
from bsou_dist.experiment.context import Context
from bsou_dist.model.encoder import Encoder, EncoderConfig, build_encoder
from bsou_dist.predict.forward import embed

ENCODER_PREFIX = "encoder."
EMBED_BATCH = 32  # clips per process; bounds memory, changes no embedding


def load_encoder(context: Context, source: str | None) -> Encoder:
    """The best encoder of the stage 1 named `source`, or a new one where there was no stage 1."""
    config = context.config
    if source is None or context.stage1 is None:
        return build_encoder(config.encoder, frames=config.feed.frames, size_px=config.feed.size_px)
    return encoder_of(context.stage1.folder / source / BEST)


def encoder_of(path: Path) -> Encoder:
    """The encoder in a checkpoint of stage 1, or of a stage 2 that tuned one."""
    checkpoint = load_checkpoint(path)
    weights = {
        name.removeprefix(ENCODER_PREFIX): value
        for name, value in checkpoint.network.items()
        if name.startswith(ENCODER_PREFIX)
    }
    if not weights:
        raise InputError(
            f"{path} holds no encoder (it was tuned on a frozen one); give the stage 1 checkpoint"
        )
    metadata = checkpoint.metadata
    config = EncoderConfig.model_validate(metadata["encoder"] | {"weights": "none"})
    encoder = build_encoder(config, frames=metadata["frames"], size_px=metadata["size_px"])
    encoder.load_state_dict(weights)
    return encoder


def stage1_embeddings(context: Context, source: str, split_columns: list[str]) -> pd.Series:
    """Embeddings, by key, of all clips that stage 2 uses, by the frozen encoder of `source`.
    Collective.

    Made once and kept in the run's folder; NaN for a clip that could not be decoded.
    """
    path = context.config.folder / source / "embeddings.parquet"
    if context.processes.broadcast(path.is_file()):
        return pd.read_parquet(path).set_index("key")["embedding"]
    used = context.corpus.used(split_columns)
    loader = context.loader(
        used,
        context.pixels(used),
        global_batch=EMBED_BATCH * context.processes.world,
        training=False,
    )
    rows, there = embed(load_encoder(context, source), loader, context.processes, "embed")
    rows[~there] = np.nan
    if context.processes.first:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_embeddings(path, used.manifest, rows)
    return pd.Series(list(rows), index=pd.Index(used.manifest["key"], name="key"), name="embedding")


def write_embeddings(path: Path, manifest: pd.DataFrame, rows: np.ndarray) -> None:
    """Write key, pseudonyms and embedding (C floats) of every clip, whole or not at all."""
    table = pa.table(
        {
            **{
                column: pa.array(manifest[column])
                for column in ("key", "exam", "study", "patient", "sweep")
            },
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1]),
        }
    )
    with whole_file(path) as temporary:
        pq.write_table(table, temporary)
