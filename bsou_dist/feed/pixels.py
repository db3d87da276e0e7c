"""Pixels of clips out of shards: read, decoded, augmented; what cannot be decoded is set aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bsou_dist.common.keyed_random import keyed_generator
from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.feed.augment import (
    IDENTITY,
    AugmentConfig,
    Parameters,
    augment,
    choose_frames,
    draw_parameters,
)
from bsou_dist.feed.dataset import ClipSet
from bsou_dist.feed.decode.make import (
    DecoderName,
    choose_decoder,
    decoded_on,
    make_decoder,
)
from bsou_dist.feed.decode.protocol import Decoder, Request, attempt
from bsou_dist.feed.quarantine import Quarantine
from bsou_dist.feed.reader_pool import ReaderPool, Reads
from bsou_dist.feed.side_stream import to_device
from bsou_dist.shards.codec import CorruptClip
from bsou_dist.shards.reader import ShardReader

Member = tuple[dict[str, Any], memoryview]
"""The JSON record of a clip, and its encoded bytes."""

Decoded = tuple[Tensor, np.ndarray]
"""Frames of a clip, uint8 (n, H, W), each once, and which of them its views show, (views, F)."""

CPU_PIECE = 16
"""Clips that a thread decodes and augments in one go.

Enough to be worth its while, few enough that threads share a small batch evenly.
"""

GPU_PIECE = 512
"""The same on a GPU, where it bounds the memory of what is under way."""


class FeedConfig(StrictConfig):
    """How clips become tensors."""

    frames: int = Field(default=16, ge=1)
    """Frames per clip; a clip with fewer repeats them evenly."""
    size_px: int = Field(default=112, ge=8)
    """Side of a picture as the model sees it."""
    decoder: DecoderName = "auto"
    threads: int = Field(default=2, ge=1)
    """Threads that decode and augment, per process."""
    readers: int = Field(default=16, ge=1, le=256)
    """Threads that read clips ahead of those, per process; each waits for one read at a time."""
    prefetch: int = Field(default=2, ge=1)
    """Batches made ahead."""


class Pixels:
    """A `ClipSource` that gives pixels.

    They are a pure function of (seed, epoch, key, view), bit for bit on one type of device.

    Args:
        clips: what is read.
        config: how many frames of which size, and how they are decoded.
        augment: strengths; None only resizes and takes the middle frames.
        seed: seed of all random choices.
        views: augmented views of each clip, 1 or 2.
        quarantine: where clips that cannot be decoded go.
        device: where pixels are wanted.

    Raises:
        InputError: a codec that `config.decoder` cannot decode on such a `device`.
    """

    def __init__(
        self,
        clips: ClipSet,
        config: FeedConfig,
        *,
        augment: AugmentConfig | None,
        seed: int,
        quarantine: Quarantine,
        views: int = 1,
        device: str = "cpu",
    ) -> None:
        assert views in (1, 2), views
        self.clips = clips
        self.config = config
        self.augment = augment
        self.seed = seed
        self.quarantine = quarantine
        self.views = views
        self.device = device
        self.readers = config.readers
        self._reader = ShardReader(clips.shards_dir, clips.manifest)
        chosen = choose_decoder(config.decoder, clips.codec, device)
        # Made where it is first used: the device may be that of another machine, whose run is only
        # checked here.
        self._new_decoder = partial(make_decoder, chosen, clips.codec, device, config.threads)
        self._idle_decoders: SimpleQueue[Decoder] = SimpleQueue()
        # Threads share what a CPU decodes; for a GPU one of them queues the whole of it.
        if torch.device(decoded_on(chosen, device)).type == "cuda":
            self.threads = 1
            self.piece = GPU_PIECE
        else:
            self.threads = config.threads
            self.piece = CPU_PIECE
        self._damaged: dict[int, Exception] = {}
        """Clips that could not be decoded. Not tried again, since one makes its whole piece be
        decoded clip by clip.
        """

    def empty(self, count: int) -> Tensor:
        """float32 (views, count, 1, F, S, S) of any values."""
        frames, size_px = self.config.frames, self.config.size_px
        return torch.empty((self.views, count, 1, frames, size_px, size_px), device=self.device)

    def begin_reading(self, readers: ReaderPool, picked: np.ndarray) -> Reads:
        """Begin to read the clips that `picked` (n,) names, where it names one."""
        return readers.begin(self._read, picked[picked >= 0].tolist())

    def _read(self, clip: int, stopped: Event) -> Member | Exception:
        """A clip's record and bytes, or what is wrong with it.

        Raises:
            Unreadable: the storage fails, which is no clip's fault.
        """
        damage = self._damaged.get(clip)
        if damage is not None:
            return damage
        return attempt(partial(self._reader.read, stopped=stopped), clip)

    def prefetch_shard(self, number: int, stopped: Event) -> None:
        """See `ClipSource.prefetch_shard`."""
        self._reader.prefetch_shard(number, stopped)

    def fill(
        self,
        rows: Tensor,
        picked: np.ndarray,
        members: Sequence[Member | Exception],
        epoch: int,
    ) -> np.ndarray:
        """Write the pixels of the clips that `picked` (n,) names to `rows` (views, n, 1, F, S, S).

        `members` are those clips as `begin_reading` read them, without places that name none.
        Zero where it is negative or the clip cannot be decoded. Returns bool (n,): where there is
        one.

        Raises:
            QuarantineExceeded: more clips could not be decoded than allowed.
        """
        decoded = self._decode(picked, members, epoch)
        places = list(decoded)
        present = np.zeros(len(picked), dtype=bool)
        present[places] = True
        if not present.all():
            rows.zero_()
        if not places:
            return present
        for view in range(self.views):
            parameters = [self._parameters(int(picked[place]), epoch, view) for place in places]
            clips = clips_of_view(list(decoded.values()), view, self.device)
            if present.all():
                augment(clips, parameters, self.config.size_px, out=rows[view])
            else:
                filled = augment(clips, parameters, self.config.size_px)
                rows[view].index_copy_(0, to_device(np.array(places), self.device), filled)
        return present

    def _parameters(self, clip: int, epoch: int, view: int) -> Parameters:
        if self.augment is None:
            return IDENTITY
        return draw_parameters(self.augment, self.seed, epoch, self.clips.key[clip], view)

    def _decode(
        self, picked: np.ndarray, members: Sequence[Member | Exception], epoch: int
    ) -> dict[int, Decoded]:
        """Frames at rest by place in `picked`.

        Clips that fail are not among them and go into quarantine.
        """
        places = np.flatnonzero(picked >= 0).tolist()
        clip_at = {place: int(picked[place]) for place in places}
        chosen: dict[int, np.ndarray] = {}
        requests: dict[int, Request] = {}
        failures: dict[int, Exception] = {}
        for (place, clip), member in zip(clip_at.items(), members, strict=True):
            if isinstance(member, Exception):
                failures[place] = member
                continue
            record, data = member
            chosen[place] = self._frames(clip, epoch)
            # Frames that both views chose are decoded once.
            requests[place] = (data, record, np.unique(chosen[place]))

        with self._decoder() as decoder:
            decoded = decoder.decode(list(requests.values()))
        expected = (self.clips.height, self.clips.width)
        frames: dict[int, Decoded] = {}
        for (place, request), result in zip(requests.items(), decoded, strict=True):
            if isinstance(result, Exception):
                failures[place] = result
                self._damaged[clip_at[place]] = result
            elif result.shape[1:] != expected:
                failures[place] = CorruptClip(
                    f"pictures of {tuple(result.shape[1:])}, the manifest says {expected}"
                )
            else:
                _, _, indices = request
                frames[place] = result, np.searchsorted(indices, chosen[place])
        for place in sorted(failures):
            self._set_aside(clip_at[place], failures[place])
        return frames

    @contextmanager
    def _decoder(self) -> Iterator[Decoder]:
        """A decoder that no other thread uses; it is kept, since they are slow to make."""
        try:
            decoder = self._idle_decoders.get_nowait()
        except Empty:
            decoder = self._new_decoder()
        yield decoder
        self._idle_decoders.put(decoder)

    def _frames(self, clip: int, epoch: int) -> np.ndarray:
        """Frames of a clip for every view, int64 (views, F)."""
        total = int(self.clips.frames[clip])
        wanted = self.config.frames
        if self.augment is None or not self.augment.frame_jitter:
            return np.tile(choose_frames(total, wanted), (self.views, 1))
        frames = []
        for view in range(self.views):
            random = keyed_generator("frames", self.seed, epoch, self.clips.key[clip], view)
            frames.append(choose_frames(total, wanted, random.random(wanted)))
        return np.stack(frames)

    def _set_aside(self, clip: int, reason: Exception) -> None:
        """Put a clip into quarantine."""
        row = self.clips.manifest.iloc[clip]
        said = f"{type(reason).__name__}: {reason}"
        self.quarantine.add(str(row["shard"]), int(row["offset"]), str(row["key"]), said)


def clips_of_view(decoded: Sequence[Decoded], view: int, device: str) -> Tensor | list[Tensor]:
    """Frames of one view of every clip, B of (1, F, H, W) or (B, 1, F, H, W), on a device.

    A CPU works on one clip at a time; to a GPU all are handed at once, from wherever they were
    decoded.
    """
    if torch.device(device).type == "cpu":
        return [_chosen(frames, positions[view])[None] for frames, positions in decoded]
    return to_device(clips_together(decoded, view), device)


def clips_together(decoded: Sequence[Decoded], view: int) -> Tensor:
    """Frames of one view of every clip, uint8 (B, 1, F, H, W), where they were decoded."""
    counts = [len(frames) for frames, _ in decoded]
    firsts = np.cumsum([0, *counts[:-1]])
    positions = [first + of_clip[view] for first, (_, of_clip) in zip(firsts, decoded, strict=True)]
    together = torch.cat([frames for frames, _ in decoded])
    chosen = _chosen(together, np.concatenate(positions))
    return chosen.unflatten(0, (len(decoded), -1))[:, None]


def _chosen(frames: Tensor, positions: np.ndarray) -> Tensor:
    """Frames (n, H, W) at some positions, without a copy where these are all of them in order."""
    if np.array_equal(positions, np.arange(len(frames))):
        return frames
    return frames[to_device(positions, frames.device)]
