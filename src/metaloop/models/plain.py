"""Networks whose every function is exact in torch, so that no substitute need stand by."""

from collections.abc import Callable

from torch import nn

from metaloop.models.mlp import MLP

LAYERS: frozenset[type[nn.Module]] = frozenset({MLP, nn.Sequential, nn.Flatten, nn.Linear, nn.ReLU})


def is_plain(model: nn.Module) -> bool:
    """Check whether a network consists of layers that call no function with a substitute.

    The mode that replaces functions calls Python for each function of the network, which is about
    5 % of the meta-step of a small MLP.
    """
    return all(
        type(m) in LAYERS and "forward" not in vars(m) and not hooks_of(m) for m in model.modules()
    )


def hooks_of(module: nn.Module) -> list[Callable[..., object]]:
    """Return the hooks that run when this module is called, or on the way back."""
    return [
        *module._forward_hooks.values(),
        *module._forward_pre_hooks.values(),
        *module._backward_hooks.values(),
        *module._backward_pre_hooks.values(),
    ]
