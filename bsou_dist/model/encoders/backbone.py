"""What every kind of encoder gives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Backbone:
    """A network and the part of it that makes a feature map.

    Attributes:
        network: the whole network, whose names of tensors files of weights use.
        features: its part that turns clips (N, 1, F, H, W) into a map (N, D, F', H', W').
        dim: D.
    """

    network: nn.Module
    features: nn.Module
    dim: int

    @property
    def names(self) -> set[str]:
        """The network's names of the tensors that `features` is made of."""
        used = {id(tensor) for tensor in self.features.state_dict(keep_vars=True).values()}
        everything: dict[str, Tensor] = self.network.state_dict(keep_vars=True)
        return {name for name, tensor in everything.items() if id(tensor) in used}


def as_map(embeddings: Tensor) -> Tensor:
    """Embeddings (N, D) as a feature map of one place, (N, D, 1, 1, 1), whose mean they are."""
    return embeddings[:, :, None, None, None]
