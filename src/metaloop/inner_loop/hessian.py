"""Hessian-vector products, and linear systems that they define."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from metaloop.episode import Examples

Vector = Mapping[str, Tensor]
# (parameters, further parameters, examples) -> gradient in the former, as InnerStep.gradient
GradientOf = Callable[[Vector, Vector, Examples], Vector]
CONVERGED = 1e-30  # relative to |b|^2: a smaller squared residual is rounding noise


def hessian_product(
    gradient_of: GradientOf, phi: Vector, support: Examples, direction: Vector
) -> Vector:
    """Compute H(phi) direction over all parameters; missing directions are zero.

    Uses forward over reverse mode. Reverse over forward is slightly faster, but silently wrong for
    torch's LayerNorm, BatchNorm and InstanceNorm, even without vmap. The inner gradient records
    its graph although nothing uses it: torch decomposes the backward kernels of GroupNorm and SiLU
    only when it records them, and forward mode fails on them otherwise.
    """
    tangent = {n: direction.get(n, torch.zeros_like(p)) for n, p in phi.items()}
    # Pass the examples' zero tangents explicitly: mse_loss fails on torch's implicit ones.
    floats = [t for t in support.tensors if t.is_floating_point()]

    def gradient(phi: Vector, *floats: Tensor) -> Vector:
        rest = iter(floats)
        seen = support.map(lambda t: next(rest) if t.is_floating_point() else t)
        return gradient_of(phi, {}, seen)

    product = torch.func.jvp(
        gradient, (dict(phi), *floats), (tangent, *map(torch.zeros_like, floats))
    )[1]
    return cast(Vector, product)


def conjugate_gradient(
    operator: Callable[[Vector], Vector], b: Vector, steps: int
) -> dict[str, Tensor]:
    """Solve operator(x) = b for a positive definite operator (Hestenes and Stiefel 1952).

    The number of steps is fixed, so that tasks can be vectorised. A task that has converged or
    meets negative curvature keeps its solution.
    """
    x = {name: torch.zeros_like(value) for name, value in b.items()}
    residual, direction = dict(b), dict(b)
    square = first = dot(b, b)
    for _ in range(steps):
        curved = operator(direction)
        curvature = dot(direction, curved)
        is_active = (curvature > 0) & (square > CONVERGED * first)
        length = torch.where(is_active, square / torch.where(is_active, curvature, 1.0), 0.0)
        x = {n: x[n] + length * direction[n] for n in x}
        residual = {n: residual[n] - length * curved[n] for n in x}
        new = dot(residual, residual)
        turn = torch.where(is_active, new / torch.where(is_active, square, 1.0), 0.0)
        direction = {n: residual[n] + turn * direction[n] for n in x}
        square = new
    return x


def dot(one: Vector, other: Vector) -> Tensor:
    """Compute the inner product over all tensors."""
    return torch.stack([(value * other[name]).sum() for name, value in one.items()]).sum()
