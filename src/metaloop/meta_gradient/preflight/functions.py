"""Check that each user-written backward pass is differentiated correctly.

Behind a straight-through estimator a gradient is not the slope of the loss, so finite differences
of the whole loss cannot check the layers before it. But one function's backward can be checked, for
a fixed cotangent: that of a straight-through estimator is constant, and so are its differences.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from metaloop.meta_gradient.preflight.python_calls import watch_calls

TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-2}
STEPS = {torch.float64: (1e-5, 1e-6, 1e-7), torch.float32: (1e-2, 3e-3)}
Function = type[torch.autograd.Function]
_APPLY = torch.autograd.Function.apply.__func__.__code__  # type: ignore[attr-defined]


class Call(NamedTuple):
    """One call of an autograd.Function."""

    function: Function
    args: tuple[object, ...]


@contextmanager
def calls_of_functions() -> Iterator[list[Call]]:
    """Collect the calls of Python's autograd.Functions inside."""
    calls: list[Call] = []

    def look(frame: FrameType) -> None:
        if frame.f_code is _APPLY:
            calls.append(Call(frame.f_locals["cls"], tuple(frame.f_locals["args"])))

    with watch_calls(look):
        yield calls


def wrongly_derived(calls: list[Call], dtype: torch.dtype) -> str:
    """Name the first function whose backward is differentiated incorrectly; empty if none."""
    for call in calls:
        if not _is_differentiated(call, dtype):
            return call.function.__name__
    return ""


def _is_differentiated(call: Call, dtype: torch.dtype) -> bool:
    """Compare <u, dG v> from autograd with central differences of G = backward(cotangent)."""
    x = [t for t in call.args if isinstance(t, Tensor) and t.requires_grad]
    if not x:
        return True
    gradient = _gradient_of(call)
    u, v = _draws(x, 1), _draws(x, 2)
    leaves = [t.detach().clone().requires_grad_() for t in x]
    found = gradient(leaves, graph=True)
    slope = _dot(found, u)
    product = 0.0
    if slope.requires_grad:
        try:
            second = torch.autograd.grad(slope, leaves, materialize_grads=True)
        except RuntimeError:  # once_differentiable
            return False
        product = float(_dot(second, v))
    size = abs(product) + math.sqrt(float(_dot(found, found))) + 1e-30

    def off(step: float) -> float:
        up, down = ([t.detach() + s * d for t, d in zip(x, v, strict=True)] for s in (step, -step))
        difference = float(_dot(gradient(up), u) - _dot(gradient(down), u)) / (2 * step)
        return abs(product - difference) / size

    return any(off(step) < TOLERANCE[dtype] for step in STEPS[dtype])


def _gradient_of(call: Call) -> Callable[..., list[Tensor]]:
    """Return the function's backward pass as a function of its inputs, for a fixed cotangent."""

    def gradient(values: list[Tensor], *, graph: bool = False) -> list[Tensor]:
        with torch.enable_grad():
            rest = iter(v if v.requires_grad else v.requires_grad_() for v in values)
            args = [
                next(rest) if isinstance(a, Tensor) and a.requires_grad else a for a in call.args
            ]
            made = pytree.tree_leaves(call.function.apply(*args))  # type: ignore[no-untyped-call]
            outputs = [t for t in made if isinstance(t, Tensor) and t.requires_grad]
            found = torch.autograd.grad(
                outputs, values, _draws(outputs, 3), create_graph=graph, materialize_grads=True
            )
        return list(found)

    return gradient


def _draws(like: list[Tensor], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t) for t in like]


def _dot(one: "list[Tensor] | tuple[Tensor, ...]", other: list[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()
