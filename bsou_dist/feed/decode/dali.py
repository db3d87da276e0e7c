"""NVIDIA DALI as a decoder; the only file that imports it.

DALI only decodes: its noise has no seed per sample, so geometry and noise are `feed.augment`'s.
Clips reach it by `external_source`, so that the order and the reading of shards stay ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from nvidia.dali import fn, types
from nvidia.dali.pipeline import Pipeline
from torch import Tensor

from bsou_dist.feed.decode.protocol import Request
from bsou_dist.shards.codec import CorruptClip
from bsou_dist.shards.jpeg_header import read_jpeg_header

MAX_PICTURES = 1024
"""Pictures per run of the JPEG pipeline: DALI wants to know its largest batch beforehand."""

MAX_VIDEOS = 64
"""Clips per run of the video pipeline."""

_KNOWN_HEADERS = 256
"""How many are remembered; clips packed alike have one between them."""


class DaliDecoder:
    """Decodes codec 'jpeg' on CPU (libjpeg-turbo) or GPU (nvJPEG), and 'h264' on GPU (NVDEC).

    A damaged clip makes DALI raise for the whole batch without saying which one it was; that batch
    is then decoded clip by clip. (libjpeg-turbo shows some damaged pictures, with a warning, that
    Pillow refuses.)

    On a GPU clips are given on the stream that is current where `decode` is called: it waits for
    them, the host does not, and nothing is copied. DALI keeps their memory until all work that was
    queued when the last tensor of them was dropped is done (DALI 2.4, dltensor.h).

    Tested on CPU with 'jpeg' only. The two GPU variants follow DALI 2.4's documentation and have
    not been measured: run the tests marked `gpu` before relying on them.
    """

    def __init__(self, codec: str, device: str, threads: int) -> None:
        self.codec = codec
        self.device = torch.device(device)
        self.threads = threads
        self._known_headers: tuple[bytes, ...] = ()
        self._longest_header = 0
        self._pipeline = self._build()

    def decode(self, requests: Sequence[Request]) -> list[Tensor | Exception]:
        """See `Decoder.decode`; tensors on the decoder's device."""
        try:
            return list(self._jpeg(requests) if self.codec == "jpeg" else self._video(requests))
        except (RuntimeError, ValueError, LookupError, TypeError) as error:
            # DALI's own error, or that of a record that does not add up.
            if "out of memory" in str(error).lower():
                raise  # no clip's fault
            self._pipeline = self._build()  # one that failed cannot be used again
            if len(requests) == 1:
                return [_corrupt(error)]
            results: list[Tensor | Exception] = []
            for request in requests:
                results += self.decode([request])
            return results

    def _build(self) -> Pipeline:
        cuda = self.device.type == "cuda"
        pipeline = Pipeline(
            batch_size=MAX_PICTURES if self.codec == "jpeg" else MAX_VIDEOS,
            num_threads=self.threads,
            device_id=self._device_index() if cuda else None,
            prefetch_queue_depth=1,
            # Dynamic execution owns its outputs: a tensor made of one outlives the next run.
            exec_dynamic=True,
        )
        backend = "mixed" if cuda else "cpu"
        with pipeline:
            encoded = fn.external_source(name="encoded", dtype=types.DALIDataType.UINT8, ndim=1)
            if self.codec == "jpeg":
                decoded = fn.decoders.image(
                    encoded,
                    device=backend,
                    output_type=types.DALIImageType.GRAY,
                    adjust_orientation=False,
                )
            else:
                frames = fn.external_source(name="frames", dtype=types.DALIDataType.INT32, ndim=1)
                decoded = fn.decoders.video(encoded, device=backend, frames=frames)
            pipeline.set_outputs(decoded)
        pipeline.build()
        return pipeline

    def _device_index(self) -> int:
        index = self.device.index
        return torch.cuda.current_device() if index is None else index

    def _jpeg(self, requests: Sequence[Request]) -> list[Tensor]:
        pictures: list[np.ndarray] = []
        for data, record, indices in requests:
            member = np.frombuffer(data, dtype=np.uint8)
            offsets = record["frame_offsets"]
            for index in indices:
                start, stop = offsets[index], offsets[index + 1]
                picture = member[start:stop]
                header = bytes(data[start : start + self._longest_header])
                if not header.startswith(self._known_headers):
                    self._meet_header(picture, (record["height"], record["width"]))
                pictures.append(picture)
        if not pictures:
            return []
        decoded = self._decode_pictures(pictures)
        return list(decoded.split([len(indices) for _, _, indices in requests]))

    def _decode_pictures(self, pictures: list[np.ndarray]) -> Tensor:
        """Encoded pictures, in as many runs as they need, to uint8 (pictures, H, W)."""
        runs = [
            self._run(encoded=pictures[start : start + MAX_PICTURES])
            for start in range(0, len(pictures), MAX_PICTURES)
        ]
        stacked = [run for run in runs if isinstance(run, Tensor)]
        sizes = {run.shape[1:] for run in stacked}
        if len(stacked) < len(runs) or len(sizes) > 1:
            raise ValueError("pictures of several sizes")
        decoded = stacked[0] if len(stacked) == 1 else torch.cat(stacked)
        return decoded.squeeze(-1)

    def _meet_header(self, picture: np.ndarray, shape: tuple[int, int]) -> None:
        """Let DALI see a header that it has not met yet in a run of its own.

        From 32 pictures on, DALI 2.4 parses headers on several threads; one that it refuses in its
        main thread makes it leave the function on whose stack the others are working, and the
        process dies (`setup_block` in dali/operators/imgcodec/image_decoder.h). A run of one
        raises. Clips packed alike have one header between them.

        One that claims another size than the record does not reach DALI, which would take memory
        for it.
        """
        encoded = picture.tobytes()
        header = read_jpeg_header(encoded)
        if header.shape != shape:
            raise ValueError(f"a picture of {header.shape}, the record says {shape}")
        self._run(encoded=[picture])
        latest = self._known_headers[-_KNOWN_HEADERS + 1 :]
        self._known_headers = (*latest, encoded[: header.bytes])
        self._longest_header = max(map(len, self._known_headers))

    def _video(self, requests: Sequence[Request]) -> list[Tensor]:
        clips: list[Tensor] = []
        for start in range(0, len(requests), MAX_VIDEOS):
            batch = requests[start : start + MAX_VIDEOS]
            decoded = self._run(
                encoded=[np.frombuffer(data, dtype=np.uint8) for data, _, _ in batch],
                frames=[indices.astype(np.int32) for _, _, indices in batch],
            )
            clips += [frames[..., 0] for frames in decoded]  # RGB of a grey picture: any channel
        return clips

    def _run(self, **inputs: list[np.ndarray]) -> Tensor | list[Tensor]:
        """Run the pipeline once, for the stream that is current.

        Returns its samples as one tensor (N, ...), or where they differ in shape, as a list of N.
        """
        for name, arrays in inputs.items():
            self._pipeline.feed_input(name, arrays)
        is_cuda = self.device.type == "cuda"
        stream = torch.cuda.current_stream(self.device) if is_cuda else None
        (samples,) = self._pipeline.run(stream)
        if samples.is_dense_tensor():
            stacked: Tensor = torch.from_dlpack(samples.as_tensor())
            return stacked
        return [torch.from_dlpack(samples[position]) for position in range(len(samples))]


def _corrupt(error: Exception) -> CorruptClip:
    """What DALI says of a clip, without what it says of its pipeline."""
    reason = str(error).split("encountered:")[-1].split("Current pipeline")[0].strip()
    return CorruptClip(f"DALI: {reason or type(error).__name__}")
