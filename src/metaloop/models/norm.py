"""Normalisation that stays exact under vmapped second-order gradients."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor, nn

from metaloop.models.kernels import is_large, tasks_at_once
from metaloop.models.normalise import affine, normalise


class Statistics(NamedTuple):
    """Mean and biased variance of every channel, both [channels]."""

    mean: Tensor
    variance: Tensor


_rows: ContextVar[int | None] = ContextVar("rows", default=None)
_stored: ContextVar[Mapping[nn.Module, Statistics]] = ContextVar("stored", default={})  # noqa: B039
_measured: ContextVar[dict[nn.Module, Statistics] | None] = ContextVar("measured", default=None)


@contextmanager
def statistics_of_first(rows: int) -> Iterator[None]:
    """Norms inside take their statistics from the batch's first rows, and normalise all of it."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


@contextmanager
def stored_statistics(stored: Mapping[nn.Module, Statistics]) -> Iterator[None]:
    """The norms named inside normalise by these statistics, whatever the batch."""
    token = _stored.set(stored)
    try:
        yield
    finally:
        _stored.reset(token)


@contextmanager
def measured_statistics() -> Iterator[dict[nn.Module, Statistics]]:
    """Collect the statistics of the batches that the norms inside see."""
    measured: dict[nn.Module, Statistics] = {}
    token = _measured.set(measured)
    try:
        yield measured
    finally:
        _measured.reset(token)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015, Algorithm 1).

    y = (x - mean) / sqrt(variance + eps) * weight + bias, mean and biased variance a channel
    over the rows that the norm mode names, or those that it has stored. The module itself keeps
    no running statistics: a learner of MAML normalises by the data at hand. Written from
    primitives because torch.nn.BatchNorm has a wrong second derivative under vmap (functorch
    issue 534). Where `kernels_for` allows, torch's kernels are taken instead, which pass over the
    images fewer times: for large batches with derivatives of our own, for others task by task.

    Shapes:
        x [rows, features, *any]
    """

    def __init__(self, features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.features, self.eps = features, eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        if self._asks_for_its_batch_alone(x):
            if is_large(x.numel()):
                return normalise(x, self.weight, self.bias, self.eps)
            if tasks_at_once() == 1:
                return torch.batch_norm(
                    x, self.weight, self.bias, None, None, True, 0.0, self.eps, True
                )
        mean, variance = self._statistics(x)
        # what is small is multiplied first: one pass over x, and few more on the way back
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return affine(x, scale, self.bias - mean * scale)

    def _asks_for_its_batch_alone(self, x: Tensor) -> bool:
        """Whether the batch's own statistics are all that is asked for."""
        asks_more = _rows.get() is not None or _measured.get() is not None or _stored.get()
        return not asks_more and x.dtype == self.weight.dtype

    def _statistics(self, x: Tensor) -> Statistics:
        if (stored := _stored.get().get(self)) is not None:
            return stored
        axes = [0, *range(2, x.ndim)]
        seen = x if (rows := _rows.get()) is None else x[:rows]
        variance, mean = torch.var_mean(seen, axes, correction=0)
        statistics = Statistics(mean, variance)
        if (measured := _measured.get()) is not None:
            measured[self] = statistics
        return statistics


SCALED = (
    BatchNorm,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


def scales_and_shifts(model: nn.Module) -> dict[str, str]:
    """The parameters of the model's norms: name -> `scale` or `shift`."""
    kinds = {"weight": "scale", "bias": "shift"}
    return {
        f"{module_name}.{name}".lstrip("."): kinds[name]
        for module_name, module in model.named_modules()
        if isinstance(module, SCALED)
        for name, _ in module.named_parameters(recurse=False)
        if name in kinds
    }
