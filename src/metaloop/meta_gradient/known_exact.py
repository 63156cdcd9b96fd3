"""Pieces that the package's own tests prove exact, so that no run need check them again.

Types are compared, never names of classes or subclasses: one foreign layer, hook, loss or rule
and everything is checked.
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
from metaloop.tasks import Metric

# torch's layers that metaloop's own networks are made of
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
    """Whether a network is metaloop's and made of nothing but metaloop's and torch's layers."""
    return _is_ours(type(model), "models") and all(map(_is_known_layer, model.modules()))


def is_known_exact(algorithm: Algorithm) -> bool:
    """Whether everything that a meta-gradient is computed from is known to be exact."""
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
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    is_changed = "forward" in vars(module) or any(hooks)
    return (is_ours or type(module) in LAYERS) and not is_changed


def _is_known_function(function: Callable[..., object]) -> bool:
    if isinstance(function, functools.partial | nn.Module):
        return False
    written = getattr(function, "__func__", function)
    module = getattr(written, "__module__", None) or ""
    is_ours = module.startswith(("metaloop.tasks.", "metaloop.inner_loop."))
    return written in LOSSES or (is_ours and "<locals>" not in written.__qualname__)


def _is_ours(kind: type, room: str) -> bool:
    return kind.__module__.startswith(f"metaloop.{room}.")
