"""Clips out of shards: read, decoded, augmented; those that cannot be decoded set aside."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bsou_dist.feed.augment import IDENTITY, AugmentConfig, augment, choose_frames, draw_parameters
from bsou_dist.feed.clips import ClipSet
from bsou_dist.feed.decode import DecoderName, Request, make_decoder
from bsou_dist.feed.quarantine import Quarantine
from bsou_dist.feed.randomness import keyed_generator
from bsou_dist.feed.reader import ShardReader
from bsou_dist.shards.codec import CorruptClip


class FeedConfig(BaseModel):
    """How clips become tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=16, ge=1)
    """Frames per clip; a clip with fewer repeats them evenly."""
    size_px: int = Field(default=112, ge=8)
    """Side of a picture as the model sees it."""
    decoder: DecoderName = "auto"
    threads: int = Field(default=2, ge=1)
    """Threads that read and decode, per process."""
    prefetch: int = Field(default=2, ge=1)
    """Batches made ahead."""


class Pixels:
    """A `Source` of pixels, a pure function of (seed, epoch, key, view) bit for bit on one type of device.

    Args:
        clips: what is read.
        augment: strengths; None only resizes and takes the middle frames.
        views: augmented views of each clip, 1 or 2.
        quarantine: where clips that cannot be decoded go.
        device: where pixels are wanted.

    Raises:
        InputError: a codec that `config.decoder` cannot decode on `device`.
    """

    def __init__(self, clips: ClipSet, config: FeedConfig, *, augment: AugmentConfig | None, seed: int,
                 quarantine: Quarantine, views: int = 1, device: str = "cpu") -> None:
        assert views in (1, 2), views
        self.clips = clips
        self.config = config
        self.augment = augment
        self.seed = seed
        self.quarantine = quarantine
        self.views = views
        self.device = device
        self._reader = ShardReader(clips.shards_dir, clips.manifest)
        self._decoder = make_decoder(config.decoder, clips.codec, device, config.threads)

    def fetch(self, picked: np.ndarray, epoch: int) -> tuple[Tensor, np.ndarray]:
        """Pixels of the clips that `picked` (n,) names, negative where there is none.

        Returns:
            float32 (views · n, 1, F, S, S), view-major, zero where there is none; and bool (n,), which there are.

        Raises:
            QuarantineExceeded: more clips could not be decoded than allowed.
        """
        frames = self._decode(picked, epoch)
        places = list(frames)
        present = np.zeros(len(picked), dtype=bool)
        present[places] = True
        shape = (self.views, len(picked), 1, self.config.frames, self.config.size_px, self.config.size_px)
        pixels = torch.zeros(shape, device=self.device)
        if places:
            keys = [self.clips.key[picked[place]] for place in places]
            parameters = [IDENTITY if self.augment is None
                          else draw_parameters(self.augment, self.seed, epoch, key, view)
                          for view in range(self.views) for key in keys]
            stacked = torch.stack(list(frames.values()), dim=1).flatten(0, 1)[:, None]  # (views · clips, 1, F, H, W)
            pixels[:, places] = augment(stacked, parameters, self.config.size_px).unflatten(0, (self.views, -1))
        return pixels.flatten(0, 1), present

    def _decode(self, picked: np.ndarray, epoch: int) -> dict[int, Tensor]:
        """Frames at rest, uint8 (views, F, H, W), by place in `picked`; clips that fail go into quarantine instead."""
        places = [int(place) for place in np.flatnonzero(picked >= 0)]
        chosen = {place: self._frames(int(picked[place]), epoch) for place in places}
        failures: dict[int, Exception] = {}
        requests: dict[int, Request] = {}
        read = self._reader.read_all([int(picked[place]) for place in places], self.config.threads)
        for place, member in zip(places, read, strict=True):
            if isinstance(member, Exception):
                failures[place] = member
            else:
                meta, data = member
                requests[place] = (data, meta, np.unique(chosen[place]))  # views share frames: each is decoded once
        frames: dict[int, Tensor] = {}
        expected = (self.clips.height, self.clips.width)
        decoded = self._decoder.decode(list(requests.values()))
        for (place, request), result in zip(requests.items(), decoded, strict=True):
            if isinstance(result, Exception):
                failures[place] = result
            elif result.shape[1:] != expected:
                failures[place] = CorruptClip(f"pictures of {tuple(result.shape[1:])}, the manifest says {expected}")
            else:
                position = torch.from_numpy(np.searchsorted(request[2], chosen[place]))
                frames[place] = result[position.to(result.device)].to(self.device)
        for place in sorted(failures):
            self._set_aside(int(picked[place]), failures[place])
        return frames

    def _frames(self, clip: int, epoch: int) -> np.ndarray:
        """Frames of a clip for every view, int64 (views, F)."""
        total, wanted, key = int(self.clips.frames[clip]), self.config.frames, self.clips.key[clip]
        if self.augment is None or not self.augment.frame_jitter:
            return np.tile(choose_frames(total, wanted), (self.views, 1))
        return np.stack([
            choose_frames(total, wanted, keyed_generator("frames", self.seed, epoch, key, view).random(wanted))
            for view in range(self.views)])

    def _set_aside(self, clip: int, reason: Exception) -> None:
        row = self.clips.manifest.iloc[clip]
        self.quarantine.add(str(row["shard"]), int(row["offset"]), str(row["key"]),
                            f"{type(reason).__name__}: {reason}")
