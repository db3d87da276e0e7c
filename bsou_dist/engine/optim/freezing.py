"""Parameters that stay as they are for some epochs.

An engine shares out what can be trained when it is made. Where parameters thaw, a stage therefore
makes another from its last checkpoint, as it does when it was stopped there (`experiment/stage`).
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.optim.groups import check_patterns, parameter_groups


def freeze(network: nn.Module, optim: OptimConfig, epoch: int) -> None:
    """Let no gradient reach what `optim` freezes in an epoch, counted from 0; thaw what it did
    before.

    Raises:
        InputError: a pattern matches no parameter's name.
    """
    check_patterns(network, (frozen.match for frozen in optim.freeze), "optim.freeze")
    for name, parameter in network.named_parameters():
        own = [frozen for frozen in optim.freeze if fnmatchcase(name, frozen.match)]
        # What no pattern matches is left as its network made it.
        if own:
            still = any(frozen.epochs is None or epoch < frozen.epochs for frozen in own)
            parameter.requires_grad_(not still)


def check_names(network: nn.Module, optim: OptimConfig) -> None:
    """InputError where `optim` names parameters that there are not, or at first freezes all."""
    freeze(network, optim, epoch=0)
    parameter_groups(network, optim)


def next_thaw(optim: OptimConfig, epoch: int, epochs: int) -> int:
    """The next epoch after `epoch` that begins with other parameters to train; or `epochs`."""
    thaws = [frozen.epochs for frozen in optim.freeze if frozen.epochs is not None]
    return min([epochs, *(thaw for thaw in thaws if thaw > epoch)])
