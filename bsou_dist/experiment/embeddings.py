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
from bsou_dist.model.encoders.own_factory import check_trusted
from bsou_dist.predict.forward import embed

ENCODER_PREFIX = "encoder."
EMBED_BATCH = 32  # clips per process; bounds memory, changes no embedding


def load_encoder(context: Context, source: str | None) -> Encoder:
    """Load the best encoder of the stage 1 named `source`, or make a new one without a stage 1."""
    config = context.config
    if source is None or context.stage1 is None:
        return build_encoder(config.encoder, frames=config.feed.frames, size_px=config.feed.size_px)
    return encoder_of(context.stage1.folder / source / BEST, trusted=config.encoder.name)


def encoder_of(path: Path, *, trusted: str | None) -> Encoder:
    """Load the encoder of a checkpoint of stage 1, or of a stage 2 that tuned one.

    Args:
        path: the checkpoint.
        trusted: the factory of one's own that may be called, should the encoder be made by one.

    Raises:
        InputError: no such checkpoint, it holds no encoder, or one of another factory.
    """
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
    config = EncoderConfig.model_validate(metadata["encoder"] | {"weights": "none", "key_map": {}})
    check_trusted(config.name, trusted, path)
    encoder = build_encoder(config, frames=metadata["frames"], size_px=metadata["size_px"])
    encoder.load_state_dict(weights)
    return encoder


def stage1_embeddings(context: Context, source: str, split_columns: list[str]) -> pd.Series:
    """Embed all clips that stage 2 uses by the frozen encoder of `source`; by key. Collective.

    Made once and kept in the run's folder, where all processes read them; NaN for a clip that could
    not be decoded.
    """
    path = context.config.folder / source / "embeddings.parquet"
    if not context.processes.broadcast(path.is_file()):
        _write_stage1_embeddings(context, source, split_columns, path)
        context.processes.barrier()  # for what the first one wrote
    return pd.read_parquet(path).set_index("key")["embedding"]


def _write_stage1_embeddings(
    context: Context, source: str, split_columns: list[str], path: Path
) -> None:
    used = context.corpus.used(split_columns)
    loader = context.loader(
        used,
        context.pixels(used),
        global_batch=EMBED_BATCH * context.processes.world,
        training=False,
    )
    encoder = load_encoder(context, source)
    found = embed(encoder, loader, context.processes, "embed", context.config.engine)
    if found is not None:
        embeddings, is_decoded = found
        embeddings[~is_decoded] = np.nan
        path.parent.mkdir(parents=True, exist_ok=True)
        write_embeddings(path, used.manifest, embeddings)


def write_embeddings(path: Path, manifest: pd.DataFrame, embeddings: np.ndarray) -> None:
    """Write key, pseudonyms and embedding (C floats) of every clip, whole or not at all."""
    columns = {
        name: pa.array(manifest[name]) for name in ("key", "exam", "study", "patient", "sweep")
    }
    numbers = pa.array(embeddings.ravel())
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(numbers, embeddings.shape[1])
    table = pa.table(columns)
    with whole_file(path) as temporary:
        pq.write_table(table, temporary)
