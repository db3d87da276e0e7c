"""Image models of timm, which read a clip frame by frame."""

from __future__ import annotations

import difflib
from typing import Any

import timm
from torch import Tensor, nn

from bsou_dist.common.errors import InputError
from bsou_dist.model.encoders.backbone import Backbone, as_map
from bsou_dist.model.encoders.no_rows import no_rows_of, takes_no_rows
from bsou_dist.model.encoders.temporal_pool import TemporalPool, make_temporal_pool


def timm_frames(name: str, pool: TemporalPool, *, size_px: int) -> Backbone:
    """The image model `name` ('resnet18') over frames, at random weights.

    Its names of tensors are those of timm's files. Nothing is downloaded.

    Raises:
        InputError: timm has no such model, or it does not take pictures of `size_px`.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise InputError(f"encoder.name is 'timm/{name}', and timm has no such model{hint}")
    known = timm.get_pretrained_cfg(name)
    # Models with position codes or windows are made for one size, others take any.
    has_one_size = known is not None and known.fixed_input_size
    size: dict[str, Any] = {"img_size": size_px} if has_one_size else {}
    try:
        model: Any = timm.create_model(name, pretrained=False, in_chans=1, num_classes=0, **size)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"timm/{name} cannot be made for one channel of {size_px} px "
            f"({' '.join(str(error).split())}); set feed.size_px to what it takes"
        ) from None
    dim = int(model.head_hidden_size)
    frames = _Frames(model, make_temporal_pool(pool, dim), size_px)
    return Backbone(model, frames, dim)


class _Frames(nn.Module):
    """Clips (N, 1, F, H, W) to a map of one place, (N, D, 1, 1, 1), frames being pooled."""

    def __init__(self, model: nn.Module, pool: nn.Module, size_px: int) -> None:
        super().__init__()
        self.model = model
        self.pool = pool
        self._takes_no_rows = takes_no_rows(model, (1, size_px, size_px))

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.transpose(1, 2).flatten(0, 1)
        if len(clips) or self._takes_no_rows:
            embeddings = self.model(frames)
        else:
            embeddings = no_rows_of(self.model, frames)
        by_clip = embeddings.unflatten(0, (clips.shape[0], clips.shape[2]))
        return as_map(self.pool(by_clip))
