"""Rewrites of operations in a compiled graph that a CPU's libraries compute slowly.

Each takes an operation's arguments and returns the same values, or NotImplemented to keep the
operation. make_fx uses them as its decomposition table.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Rewritten = object  # a Tensor, or NotImplemented
THIN = 2**15  # most elements of a thin matrix product for which a library call does not pay
LANES = 16  # float32 elements in a vector register


def small_product(a: Tensor, b: Tensor) -> Rewritten:
    """Multiply [M, K] by [K, N] with a side of one, so that neighbouring kernels can fuse it."""
    if a.device.type == "cpu" and a.numel() + b.numel() <= THIN:
        if a.shape[1] == 1:
            return a * b
        if 1 in (a.shape[0], b.shape[1]):
            return (a.unsqueeze(2) * b).sum(1)
    return narrow_product(a, b)


def narrow_product(a: Tensor, b: Tensor) -> Rewritten:
    """Multiply [.., M, K] by [.., K, N] as (B^T A^T)^T where the result's rows are narrow.

    For 10 columns MKL takes three to ten times as long as for 10 rows.
    """
    rows, columns = a.shape[-2], b.shape[-1]
    is_narrow = 1 < columns < min(rows, 2 * LANES) and columns % LANES and rows >= LANES
    if a.device.type != "cpu" or not is_narrow:
        return NotImplemented
    transposed = torch.matmul(b.transpose(-2, -1), a.transpose(-2, -1))
    return transposed.transpose(-2, -1)


def sum_in_memory_order(
    x: Tensor,
    dims: Sequence[int] | None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Rewritten:
    """Sum a transposed tensor with its dimensions in memory order.

    Inductor loops over a sum's result in the order of the dimensions, which makes it read a
    transposed tensor element by element.
    """
    strides = x.stride()
    order = sorted(range(x.ndim), key=strides.__getitem__, reverse=True)
    is_transposed = order != list(range(x.ndim)) and 0 not in strides
    if x.device.type != "cpu" or not dims or not is_transposed:
        return NotImplemented
    summed = [d % x.ndim for d in dims]
    positions = [order.index(d) for d in range(x.ndim)]
    result: Tensor = x.permute(order).sum([positions[d] for d in summed], keepdim=True, dtype=dtype)
    kept = result.permute(positions)
    return kept if keepdim else kept.squeeze(tuple(summed))


DECOMPOSITIONS: dict[torch._ops.OpOverload, Callable[..., Rewritten]] = {
    torch.ops.aten.mm.default: small_product,
    torch.ops.aten.bmm.default: narrow_product,
    torch.ops.aten.sum.dim_IntList: sum_in_memory_order,
}
