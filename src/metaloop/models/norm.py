"""Normalisation that stays exact under vmapped second-order gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

_rows: ContextVar[int | None] = ContextVar("rows", default=None)


@contextmanager
def statistics_of_first(rows: int) -> Iterator[None]:
    """Norms inside take their statistics from the batch's first rows, and normalise all of it."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015, Algorithm 1) by the statistics of the batch.

    y = (x - mean) / sqrt(variance + eps) * weight + bias, mean and biased variance a channel
    over the rows that the norm mode names. There are no running statistics: a learner of MAML
    always normalises by the data at hand. Written from primitives because torch.nn.BatchNorm
    has a wrong second derivative under vmap (functorch issue 534).

    Shapes:
        x [rows, features, *any]
    """

    def __init__(self, features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        axes = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(x[: _rows.get()], axes, correction=0, keepdim=True)
        shape = (1, -1) + (1,) * (x.ndim - 2)
        scale = torch.rsqrt(variance + self.eps) * self.weight.view(shape)
        return (x - mean) * scale + self.bias.view(shape)
