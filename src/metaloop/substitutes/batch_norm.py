"""Batch normalisation by the statistics that a norm mode names, exact under every transform.

Ioffe and Szegedy 2015, Algorithm 1: y = (x - mean) / sqrt(variance + eps) * weight + bias, with
mean and biased variance a channel. torch's own has a wrong second derivative under vmap (functorch
issue 534), and writes running statistics that would leak from task to task.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.substitutes.normalise import affine, normalise
from metaloop.substitutes.precision import HALF, full_precision
from metaloop.substitutes.transforms import is_large, tasks_together


class Statistics(NamedTuple):
    """Mean and biased variance of every channel, both [channels]."""

    mean: Tensor
    variance: Tensor


@dataclass(frozen=True)
class BatchNorms:
    """How the batch norms of one forward pass normalise; it stands in for F.batch_norm.

    Attributes:
        names: the norms by the id of the running mean that torch hands to the function.
        stored: the norms that normalise by the running statistics handed in.
        rows: how many of the batch's first rows give the statistics; None: all of them.
        measured: collects each norm's statistics of its batch, where they are asked for.

    """

    names: Mapping[int, str]
    stored: Collection[str] = ()
    rows: int | None = None
    measured: dict[str, Statistics] | None = field(default=None, compare=False)

    def __call__(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """Normalise a batch [rows, channels, *any], whatever `training` and `momentum` say."""
        name = self.names.get(id(running_mean))
        if name in self.stored:
            assert running_mean is not None
            assert running_var is not None
            return _by(Statistics(running_mean, running_var), input, weight, bias, eps)
        _refuse_one_value(input, self.rows)
        asks_more = self.rows is not None or self.measured is not None
        if not asks_more and input.dtype not in HALF:
            return by_its_own(input, weight, bias, eps)
        statistics = measure(input if self.rows is None else input[: self.rows])
        if self.measured is not None and name is not None:
            self.measured[name] = statistics
        return _by(statistics, input, weight, bias, eps)


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Stand in for torch.batch_norm where it is called directly, without a norm mode."""
    if training or running_mean is None or running_var is None:
        return by_its_own(input, weight, bias, eps)
    return _by(Statistics(running_mean, running_var), input, weight, bias, eps)


def by_its_own(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalise a batch by its own statistics, with torch's kernels where they are exact."""
    if weight is not None and bias is not None and is_large(x.numel()):
        return normalise(x, weight, bias, eps)
    if tasks_together() == 1:
        return torch.batch_norm(x, weight, bias, None, None, True, 0.0, eps, True)
    return _by(measure(x), x, weight, bias, eps)


def measure(x: Tensor) -> Statistics:
    """Mean and biased variance of a batch, [channels], float32 or better."""
    variance, mean = torch.var_mean(full_precision(x), [0, *range(2, x.ndim)], correction=0)
    return Statistics(mean, variance)


def _by(
    statistics: Statistics, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    # the small tensors are multiplied first: one pass over x, and few more on the way back
    scale = torch.rsqrt(statistics.variance + eps)
    scale = scale if weight is None else scale * weight
    shift = -statistics.mean * scale if bias is None else bias - statistics.mean * scale
    return affine(x, scale, shift).to(x.dtype) if x.dtype in HALF else affine(x, scale, shift)


def _refuse_one_value(x: Tensor, rows: int | None) -> None:
    """Refuse a batch of one value a channel: it is its own mean, and every output is the bias."""
    count = (len(x) if rows is None else rows) * x.shape[2:].numel()
    if count == 1:
        raise UserError(
            "A batch norm is given one row alone, which has no statistics: its output would not "
            "depend on the input. Give it more rows together, or normalise by those of the support "
            "set (norm_mode=inductive) or by stored ones (norm_mode=frozen or per_step)."
        )


aten = torch.ops.aten
ALWAYS: dict[Callable[..., object], Callable[..., object]] = {
    torch.batch_norm: batch_norm,
    aten.batch_norm: batch_norm,
    aten.batch_norm.default: batch_norm,
}
