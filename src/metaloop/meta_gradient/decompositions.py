"""Operations of a compiled graph written another way, where a processor's libraries are slow.

Each takes an operation's arguments, and returns the same numbers, or NotImplemented where the
operation stays as it is. Traced by make_fx, whose decomposition table this is.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Rewritten = object  # a Tensor, or NotImplemented
THIN = 2**15  # numbers of a thin matrix product for which a library's call would cost more
LANES = 16  # float32 numbers of a vector register, of which a product's rows are made


def small_product(a: Tensor, b: Tensor) -> Rewritten:
    """[M, K] times [K, N]: with a side of one, so that the kernels around it can take it in."""
    if a.device.type == "cpu" and a.numel() + b.numel() <= THIN:
        if a.shape[1] == 1:
            return a * b
        if 1 in (a.shape[0], b.shape[1]):
            return (a.unsqueeze(2) * b).sum(1)
    return narrow_product(a, b)


def narrow_product(a: Tensor, b: Tensor) -> Rewritten:
    """[.., M, K] times [.., K, N] from the other side, B^T A^T, where its rows would be narrow.

    For 10 columns MKL takes three to ten times as long as for 10 rows.
    """
    rows, columns = a.shape[-2], b.shape[-1]
    is_narrow = 1 < columns < min(rows, 2 * LANES) and columns % LANES and rows >= LANES
    if a.device.type != "cpu" or not is_narrow:
        return NotImplemented
    other_side = torch.matmul(b.transpose(-2, -1), a.transpose(-2, -1))
    return other_side.transpose(-2, -1)


def sum_in_memory_order(
    x: Tensor,
    dims: Sequence[int] | None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Rewritten:
    """A sum over a transposed tensor, its dimensions in the order in which they lie in memory.

    Inductor goes through a sum's result in the order of the dimensions: over a transposed tensor
    number by number.
    """
    strides = x.stride()
    order = sorted(range(x.ndim), key=strides.__getitem__, reverse=True)
    is_transposed = order != list(range(x.ndim)) and 0 not in strides
    if x.device.type != "cpu" or not dims or not is_transposed:
        return NotImplemented
    summed = [d % x.ndim for d in dims]
    places = [order.index(d) for d in range(x.ndim)]
    result: Tensor = x.permute(order).sum([places[d] for d in summed], keepdim=True, dtype=dtype)
    kept = result.permute(places)
    return kept if keepdim else kept.squeeze(tuple(summed))


DECOMPOSITIONS: dict[torch._ops.OpOverload, Callable[..., Rewritten]] = {
    torch.ops.aten.mm.default: small_product,
    torch.ops.aten.bmm.default: narrow_product,
    torch.ops.aten.sum.dim_IntList: sum_in_memory_order,
}
