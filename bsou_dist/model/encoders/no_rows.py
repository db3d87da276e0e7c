"""An empty batch for networks whose reshapes do not take one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def takes_no_rows(network: nn.Module, row: tuple[int, ...]) -> bool:
    """Whether a network gives no rows for no rows of the shape `row`, as most do."""
    was_training = network.training
    try:
        with torch.no_grad():
            found = network.eval()(torch.zeros(0, *row))
    except Exception:  # whatever it is, such a batch must not reach the network
        return False
    finally:
        network.train(was_training)
    return isinstance(found, Tensor) and found.ndim == 2 and len(found) == 0


def no_rows_of(network: nn.Module, rows: Tensor) -> Tensor:
    """What a network that cannot take no `rows` (0, ...) gives for one blank row, less that row.

    A process whose clips could all not be decoded has no rows, and must still take part in whatever
    the network does together with the other processes. Batch norm goes by its stored statistics
    meanwhile and keeps them as they are.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
    ]
    for norm in norms:
        norm.training = False
    try:
        found: Tensor = network(rows.new_zeros(1, *rows.shape[1:]))
    finally:
        for norm in norms:
            norm.training = True
    return found[:0]
