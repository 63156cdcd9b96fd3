"""Hessian-vector products and linear systems in them."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from metaloop.episode import Examples

Vector = Mapping[str, Tensor]
# of some parameters, in those and further ones, over examples: an inner step's
GradientOf = Callable[[Vector, Vector, Examples], Vector]
CONVERGED = 1e-30  # of the right-hand side's square: below it a direction is rounding noise


def hessian_product(
    gradient_of: GradientOf, phi: Vector, support: Examples, direction: Vector
) -> Vector:
    """H(phi) direction over all parameters, the direction zero where it names none.

    Forward over reverse: reverse over forward takes a little less time, but is wrong for torch's
    LayerNorm, BatchNorm and InstanceNorm, silently and even without vmap. And the gradient inside
    records its own graph although nothing asks for it: without, forward mode fails on the backward
    kernels of GroupNorm and SiLU, which torch takes apart only when it records them.
    """
    tangent = {n: direction.get(n, torch.zeros_like(p)) for n, p in phi.items()}
    # The examples' zero tangents are spelled out: mse_loss fails on torch's implicit ones.
    numbers = [t for t in support.tensors if t.is_floating_point()]

    def gradient(phi: Vector, *numbers: Tensor) -> Vector:
        rest = iter(numbers)
        seen = support.map(lambda t: next(rest) if t.is_floating_point() else t)
        return gradient_of(phi, {}, seen)

    product = torch.func.jvp(
        gradient, (dict(phi), *numbers), (tangent, *map(torch.zeros_like, numbers))
    )[1]
    return cast(Vector, product)


def conjugate_gradient(
    operator: Callable[[Vector], Vector], b: Vector, steps: int
) -> dict[str, Tensor]:
    """Solve operator(x) = b for a positive definite operator (Hestenes and Stiefel 1952).

    A fixed number of steps, so that tasks can be vectorised; a task that has converged, or meets
    negative curvature, stays where it is.
    """
    x = {name: torch.zeros_like(value) for name, value in b.items()}
    residual, direction = dict(b), dict(b)
    square = first = dot(b, b)
    for _ in range(steps):
        curved = operator(direction)
        curvature = dot(direction, curved)
        is_going = (curvature > 0) & (square > CONVERGED * first)
        length = torch.where(is_going, square / torch.where(is_going, curvature, 1.0), 0.0)
        x = {n: x[n] + length * direction[n] for n in x}
        residual = {n: residual[n] - length * curved[n] for n in x}
        new = dot(residual, residual)
        turn = torch.where(is_going, new / torch.where(is_going, square, 1.0), 0.0)
        direction = {n: residual[n] + turn * direction[n] for n in x}
        square = new
    return x


def dot(one: Vector, other: Vector) -> Tensor:
    """The inner product over all tensors."""
    return torch.stack([(value * other[name]).sum() for name, value in one.items()]).sum()
