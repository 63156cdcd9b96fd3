"""Distances between rows, since torch's lack second derivatives and forward mode."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.substitutes.precision import full_precision

# from this many rows on, torch computes Euclidean distances by a matrix product
MANY = 25


def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """Compute ||x1_i - x2_j||_p for every pair of rows; derivatives are zero where rows are equal.

    Shapes: x1 [*B, P, M], x2 [*B, R, M], distances [*B, P, R].
    """
    a, b = full_precision(x1), full_precision(x2)
    is_many = max(a.shape[-2], b.shape[-2]) > MANY
    if p == 2 and (
        compute_mode == "use_mm_for_euclid_dist"
        or (compute_mode == "use_mm_for_euclid_dist_if_necessary" and is_many)
    ):
        squares = a.square().sum(-1).unsqueeze(-1) + b.square().sum(-1).unsqueeze(-2)
        distances = _root((squares - 2 * a @ b.mT).clamp(min=0), 2)
    else:
        distances = _norm(a.unsqueeze(-2) - b.unsqueeze(-3), p)
    return distances.to(x1.dtype)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """Compute ||x_i - x_j||_p for every pair i < j of rows [N, M]: [N (N - 1) / 2]."""
    x = full_precision(input)
    i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
    return _norm(x[i] - x[j], p).to(input.dtype)


def _norm(difference: Tensor, p: float) -> Tensor:
    """Compute the p-norm over the last dimension, with zero derivatives at zero."""
    size = difference.abs()
    if p == 0:
        return ((difference != 0) + 0 * difference).sum(-1)  # constant, with a zero derivative
    if p == 1:
        return size.sum(-1)
    if p == torch.inf:
        return size.amax(-1)
    if p == 2:
        return _root(difference.square().sum(-1), 2)
    is_zero = size == 0
    powers = torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, size) ** p)
    return _root(powers.sum(-1), p)


def _root(power: Tensor, p: float) -> Tensor:
    """Compute power^(1/p) with zero derivatives at zero, where they would be infinite."""
    is_zero = power == 0
    away = torch.where(is_zero, 1.0, power)
    return torch.where(is_zero, 0.0, away.sqrt() if p == 2 else away ** (1 / p))


ALWAYS: dict[Callable[..., object], Callable[..., object]] = {torch.cdist: cdist, F.pdist: pdist}
