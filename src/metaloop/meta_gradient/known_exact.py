"""Pieces that metaloop's tests prove exact, so that no run needs to check them again.

Exact types are compared, not class names or subclasses: with a single foreign layer, hook, loss or
update rule, everything is checked.
"""

import functools
from collections.abc import Callable

from torch import nn
from torch.nn import functional as F

from metaloop.algorithms.algorithm import Algorithm
from metaloop.algorithms.gradient_based import GradientBased
from metaloop.algorithms.pretrain import Pretrain
from metaloop.algorithms.prototypical import Prototypical
from metaloop.algorithms.r2d2 import R2D2
from metaloop.inner_loop import Objective
from metaloop.models.plain import hooks_of
from metaloop.tasks import Metric

# torch layers in metaloop's networks
LAYERS: frozenset[type[nn.Module]] = frozenset(
    {
        nn.Sequential,
        nn.ModuleList,
        nn.Linear,
        nn.Conv2d,
        nn.BatchNorm1d,
        nn.BatchNorm2d,
        nn.ReLU,
        nn.LeakyReLU,
        nn.Tanh,
        nn.MaxPool2d,
        nn.AvgPool2d,
        nn.AdaptiveAvgPool2d,
        nn.Flatten,
        nn.Identity,
        nn.Dropout,
    }
)
ALGORITHMS: frozenset[type[Algorithm]] = frozenset({GradientBased, Pretrain, Prototypical, R2D2})
LOSSES = (F.mse_loss, F.cross_entropy)


def is_known_model(model: nn.Module) -> bool:
    """Check whether a network is metaloop's and contains only metaloop's and torch's layers."""
    return _is_ours(type(model), "models") and all(map(_is_known_layer, model.modules()))


def is_known_exact(algorithm: Algorithm) -> bool:
    """Check whether every piece of a meta-gradient is known to be exact."""
    objective = algorithm.objective
    if type(algorithm) not in ALGORITHMS or type(objective) is not Objective:
        return False
    pieces: list[object] = []
    if isinstance(algorithm, GradientBased):
        pieces = [algorithm.update, *algorithm.update.chain, algorithm.outer_loss]
    functions: list[Callable[..., object]] = [objective.loss, objective.forward]
    metrics = objective.metrics.values()
    functions += [m.function if type(m) is Metric else m for m in metrics]
    return (
        is_known_model(objective.model)
        and all(_is_ours(type(p), "inner_loop") or _is_ours(type(p), "algorithms") for p in pieces)
        and all(_is_known_function(function) for function in functions)
    )


def _is_known_layer(module: nn.Module) -> bool:
    is_ours = _is_ours(type(module), "models")
    is_foreign = any(not _is_ours(hook, "adapters") for hook in hooks_of(module))
    is_changed = "forward" in vars(module) or is_foreign
    return (is_ours or type(module) in LAYERS) and not is_changed


def _is_known_function(function: Callable[..., object]) -> bool:
    if isinstance(function, functools.partial | nn.Module):
        return False
    written = getattr(function, "__func__", function)
    module = getattr(written, "__module__", None) or ""
    is_ours = module.startswith(("metaloop.tasks.", "metaloop.inner_loop."))
    return written in LOSSES or (is_ours and "<locals>" not in written.__qualname__)


def _is_ours(thing: type | Callable[..., object], room: str) -> bool:
    module = getattr(thing, "__module__", None) or ""
    return module.startswith(f"metaloop.{room}.")
