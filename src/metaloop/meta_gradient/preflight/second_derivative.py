"""Is a model's second derivative what a finite difference says? Layers' own backwards may lie."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Examples
from metaloop.inner_loop import Parameters
from metaloop.meta_gradient.meta_gradient import Gradient


def error_of_hessian_product(trial: Algorithm, theta: Parameters, support: Examples) -> float:
    """The smallest of several differences' errors: a kink may lie between the ends of one.

    Where the gradient is not the slope of the loss either, that is meant so (straight-through
    estimators), and nothing can be told.
    """
    generator = torch.Generator().manual_seed(1)
    draws = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in theta.items()}
    direction = {n: d.to(theta[n].device) * (n in trial.names) for n, d in draws.items()}
    zero = next(iter(theta.values())).new_zeros(())

    def loss(theta: Parameters, zero: Tensor) -> Tensor:
        # the examples get a tangent of zeros: mse_loss fails on torch's implicit one in jvp
        near = Examples(*(t + zero if t.is_floating_point() else t for t in support))
        return trial.objective.support_loss(theta, near)

    def slope(theta: Parameters) -> Tensor:
        gradient = gradient_at(theta, zero)
        return torch.stack([(gradient[n] * d).sum() for n, d in direction.items()]).sum()

    gradient_at = cast(Callable[[Parameters, Tensor], Gradient], torch.func.grad(loss))
    if not trial.needs_forward_mode:
        product = cast(Gradient, torch.func.grad(slope)(theta))
    else:
        product = torch.func.jvp(gradient_at, (theta, zero), (direction, zero))[1]
    size, expected = norm_of(gradient_at(theta, zero).values()), slope(theta)
    errors = []
    for step in (1e-6, 1e-8, 1e-9):
        up, down = ({n: p + s * direction[n] for n, p in theta.items()} for s in (step, -step))
        if abs(expected - (loss(up, zero) - loss(down, zero)) / (2 * step)) > 1e-4 * size:
            continue
        high, low = gradient_at(up, zero), gradient_at(down, zero)
        measured = {n: (high[n] - low[n]) / (2 * step) for n in theta}
        distance = norm_of(product[n] - measured[n] for n in theta)
        errors.append(float(distance / (norm_of(measured.values()) + size)))
    return min(errors, default=0.0)


def norm_of(tensors: Iterable[Tensor]) -> Tensor:
    """The norm of all the tensors together."""
    norm: Tensor = torch.stack([tensor.norm() for tensor in tensors]).norm()
    return norm
