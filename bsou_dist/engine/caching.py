"""Gradient caching: a step on a global batch that does not fit at once (Gao et al., 2021, Scaling
Deep Contrastive Learning Batch Size under Memory Limited Setup).

Rows are embedded in chunks without a gradient; the loss of all of them gives the gradient of each
embedding; each chunk is embedded again, with a gradient, and that of its embeddings goes through
it. What is held at once is one chunk's activations. Equal to the step on all rows at once where no
row's embedding depends on others (group norm, frozen batch norm).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bsou_dist.engine.dropout import seed_dropout
from bsou_dist.engine.protocol import Engine
from bsou_dist.feed.batch import Batch
from bsou_dist.objective.batch_objectives import Objective


class CachedStep:
    """Loss and gradient of a batch, `rows` at a time.

    Args:
        rows: rows that one process embeds at once.
        chunks: of every process, equally many, though the last ones may be empty.
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
        assert len(batch.valid) <= self.rows * self.chunks, (
            len(batch.valid),
            self.rows,
            self.chunks,
        )
        with torch.no_grad(), _without_batch_statistics(engine.network):
            parts = [self._outputs(engine, batch, chunk, seeds) for chunk in range(self.chunks)]
        outputs = [torch.cat(of_head).requires_grad_() for of_head in zip(*parts, strict=True)]
        loss = objective(outputs, batch)
        return loss.detach(), list(torch.autograd.grad(loss, outputs))

    def update(
        self, engine: Engine, batch: Batch, gradients: list[Tensor], seeds: list[int]
    ) -> None:
        """Carry the gradients of the outputs through the network, chunk by chunk, and step."""
        for chunk in range(self.chunks):
            rows = self._slice(chunk)

            def part(chunk: int = chunk, rows: slice = rows) -> Tensor:
                outputs = self._outputs(engine, batch, chunk, seeds)
                return torch.stack(
                    [
                        (output * gradient[rows]).sum()
                        for output, gradient in zip(outputs, gradients, strict=True)
                    ]
                ).sum()

            engine.accumulate(part, last=chunk == self.chunks - 1)

    def _slice(self, chunk: int) -> slice:
        return slice(chunk * self.rows, (chunk + 1) * self.rows)

    def _outputs(self, engine: Engine, batch: Batch, chunk: int, seeds: list[int]) -> list[Tensor]:
        seed_dropout(seeds[chunk])
        rows = self._slice(chunk)
        outputs: list[Tensor] = engine(batch.clips[rows], batch.slots[rows])
        return outputs


@contextmanager
def _without_batch_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norm normalises as in training and does not update its running statistics: the second
    pass does.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
    ]
    for norm in norms:
        norm.track_running_stats = False
    saved = [(norm.running_mean, norm.running_var, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.running_mean = norm.running_var = norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, (mean, variance, batches) in zip(norms, saved, strict=True):
            norm.track_running_stats = True
            norm.running_mean, norm.running_var, norm.num_batches_tracked = mean, variance, batches
