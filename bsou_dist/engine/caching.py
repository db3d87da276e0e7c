"""Gradient caching: a step on a global batch that does not fit into memory at once.

After Gao et al., 2021, *Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup*:

1. Rows are embedded chunk by chunk without a gradient.
2. The loss of all embeddings gives the gradient of each of them.
3. Each chunk is embedded again, now with a gradient, and the gradient of its embeddings is carried
   back through it.

Only one chunk's activations are in memory at a time. The result equals the step on all rows at once
where no row's embedding depends on other rows (group norm, frozen batch norm).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from bsou_dist.engine.dropout import seed_dropout
from bsou_dist.engine.protocol import Engine
from bsou_dist.feed.batch import Batch
from bsou_dist.objective.batch_objectives import Objective

RUNNING_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Buffers of a batch-norm layer."""


class CachedStep:
    """Loss and gradient of a batch, `rows` at a time.

    Args:
        rows: rows that one process embeds at once.
        chunks: how many every process embeds; equally many, though the last ones may be empty.
    """

    def __init__(self, rows: int, chunks: int) -> None:
        self.rows = rows
        self.chunks = chunks

    def loss(
        self, engine: Engine, batch: Batch, objective: Objective, seeds: list[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """The global loss, and its gradient with respect to each of the network's outputs (N, ...).

        `seeds`, one per chunk, fix what is random in the network.
        """
        rows = len(batch.valid)
        assert rows <= self.rows * self.chunks, (rows, self.rows, self.chunks)
        with torch.no_grad(), _without_batch_statistics(engine.network):
            chunks = [self._outputs(engine, batch, chunk, seeds) for chunk in range(self.chunks)]
        heads = zip(*chunks, strict=True)
        outputs = [torch.cat(chunks_of_head).requires_grad_() for chunks_of_head in heads]
        loss = objective(outputs, batch)
        gradients = torch.autograd.grad(loss, outputs)
        return loss.detach(), list(gradients)

    def backward(
        self, engine: Engine, batch: Batch, gradients: list[Tensor], seeds: list[int]
    ) -> Tensor:
        """Carry the gradients of the outputs through the network, chunk by chunk.

        Returns what `Engine.backward` does.
        """
        parts = [
            partial(self._surrogate, engine, batch, chunk, gradients, seeds)
            for chunk in range(self.chunks)
        ]
        return engine.backward_in_parts(parts)

    def _surrogate(
        self,
        engine: Engine,
        batch: Batch,
        chunk: int,
        gradients: list[Tensor],
        seeds: list[int],
    ) -> Tensor:
        """Outputs times their gradients, summed: its gradient is the chunk's part of the loss's."""
        rows = self._slice(chunk)
        outputs = self._outputs(engine, batch, chunk, seeds)
        pairs = zip(outputs, gradients, strict=True)
        return torch.stack([(output * gradient[rows]).sum() for output, gradient in pairs]).sum()

    def _slice(self, chunk: int) -> slice:
        return slice(chunk * self.rows, (chunk + 1) * self.rows)

    def _outputs(self, engine: Engine, batch: Batch, chunk: int, seeds: list[int]) -> list[Tensor]:
        seed_dropout(seeds[chunk])
        outputs: list[Tensor] = engine(*batch.inputs(self._slice(chunk)))
        return outputs


@contextmanager
def _without_batch_statistics(network: nn.Module) -> Iterator[None]:
    """Let batch norm normalise as in training without updating its running statistics.

    The pass with a gradient updates them; both passes would do it twice.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
    ]
    saved = [{name: getattr(norm, name) for name in RUNNING_STATISTICS} for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
        for name in RUNNING_STATISTICS:
            setattr(norm, name, None)
    try:
        yield
    finally:
        for norm, statistics in zip(norms, saved, strict=True):
            norm.track_running_stats = True
            for name, buffer in statistics.items():
                setattr(norm, name, buffer)
