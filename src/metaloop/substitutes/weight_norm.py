"""Weight normalisation, since torch's kernel has a wrong second derivative, even without vmap."""

from collections.abc import Callable

import torch
from torch import Tensor

from metaloop.substitutes.precision import full_precision


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """Compute the norms of v's slices along dim, or of all of v for dim=-1."""
    if dim == -1:
        # here torch.linalg.vector_norm's forward derivative differs in shape from its value
        return (full_precision(v).abs() ** pow).sum().pow(1 / pow).to(v.dtype)
    others = [d for d in range(v.dim()) if d != dim % v.dim()]
    norms: Tensor = torch.linalg.vector_norm(full_precision(v), pow, others, keepdim=True)
    return norms.to(v.dtype)


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Compute w = g v / ||v||: Salimans and Kingma 2016 (arXiv:1602.07868), eq. 2."""
    wide = full_precision(v)
    return (wide * (full_precision(g) / norm_except_dim(wide, 2, dim))).to(v.dtype)


ALWAYS: dict[Callable[..., object], Callable[..., object]] = {
    torch._weight_norm: weight_norm,
    torch.norm_except_dim: norm_except_dim,
}
