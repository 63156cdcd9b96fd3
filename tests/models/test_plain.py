"""A plain network calls no function that has a substitute, so that none need stand by."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.overrides import TorchFunctionMode

from metaloop import MLP
from metaloop.models.plain import is_plain
from metaloop.substitutes.mode import REPLACED


class Functions(TorchFunctionMode):
    """Collect the functions that the mode of the substitutes would see."""

    def __init__(self):
        super().__init__()
        self.called = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.called.add(func)
        return func(*args, **(kwargs or {}))


PLAIN = {
    "MLP": lambda: MLP(3, 2, hidden=[4, 4]),
    "MLP with context": lambda: MLP(3, 2, hidden=[4], context_size=2),
    "layers": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
    "shared": lambda: nn.Sequential(*[nn.Linear(3, 3)] * 2),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_network_calls_nothing_that_is_replaced(name):
    network, functions = PLAIN[name](), Functions()
    assert is_plain(network)
    with functions:
        network(torch.randn(5, 3))
    assert F.linear in functions.called
    assert not functions.called & (REPLACED | {F.batch_norm})


class Own(MLP):
    """A user's network on top of ours."""

    def forward(self, x):
        return F.layer_norm(super().forward(x), (2,))


def changed(network: nn.Module, change) -> nn.Module:
    change(network)
    return network


def hooked(network: nn.Module) -> None:
    network.body[1].register_forward_hook(lambda _, __, out: F.layer_norm(out, out.shape[1:]))


def with_another_forward(network: nn.Module) -> None:
    network.head.forward = lambda x: F.softplus(x)


def weight_normalised(network: nn.Module) -> None:
    parametrizations.weight_norm(network.head)


@pytest.mark.parametrize(
    "network",
    [
        MLP(3, 2, hidden=[4], batch_norm=True),
        nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)),
        Own(3, 2, hidden=[4]),
        *(
            changed(MLP(3, 2, hidden=[4]), change)
            for change in (hooked, with_another_forward, weight_normalised)
        ),
    ],
    ids=["batch norm", "layer norm", "subclass", "hook", "own forward", "parametrised"],
)
def test_what_may_call_something_else_is_not_plain(network):
    assert not is_plain(network)
