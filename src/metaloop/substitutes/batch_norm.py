"""Batch normalisation by the statistics that a norm mode selects, exact under every transform.

Ioffe and Szegedy 2015, Algorithm 1: y = (x - mean) / sqrt(variance + eps) * weight + bias, with
the mean and the biased variance of each channel. Torch's version has a wrong second derivative
under vmap (functorch issue 534), and its running statistics would leak from task to task.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.nn import functional as F

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
    """Normalisation of the batch norms in one forward pass; replaces F.batch_norm.

    Attributes:
        names: name of each norm, by the id of the running mean that torch passes to the function.
        stored: names of the norms that use the running statistics they are given.
        rows: number of leading rows of the batch that give the statistics; None means all rows.
        batch: number of rows of the network's input, which the norms' inputs must have too where
            only leading rows count.
        in_training: names of the norms in train(), which use no running statistics.
        measured: if given, collects the batch statistics of each norm.

    """

    names: Mapping[int, str]
    stored: Collection[str] = ()
    rows: int | None = None
    batch: int | None = None
    in_training: Collection[str] = ()
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
        """Normalise a batch [rows, channels, *any], a layer's by the norm mode."""
        name = self.names.get(id(running_mean))
        if running_mean is not None and running_var is not None:
            if name in self.stored or (name is None and not training):
                given = Statistics(running_mean, running_var)
                return _normalise_by(given, input, weight, bias, eps)
            if name is None:  # not a batch norm layer's: it writes them, which the check refuses
                return F.batch_norm(
                    input, running_mean, running_var, weight, bias, training, momentum, eps
                )
            if name in self.in_training and not training:
                _refuse_frozen(name)
        _refuse_one_value(input, self.rows)
        if self.rows is not None and self.batch not in (None, len(input)):
            _refuse_folded(name, len(input), self.batch)
        needs_statistics = self.rows is not None or self.measured is not None
        if not needs_statistics and input.dtype not in HALF:
            return normalise_batch(input, weight, bias, eps)
        statistics = measure(input if self.rows is None else input[: self.rows])
        if self.measured is not None and name is not None:
            self.measured[name] = statistics
        return _normalise_by(statistics, input, weight, bias, eps)


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
    """Replace torch.batch_norm where it is called directly, without a norm mode."""
    return BatchNorms({})(input, running_mean, running_var, weight, bias, training, momentum, eps)


def normalise_batch(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalise a batch by its own statistics, with torch's kernels where they are exact."""
    if weight is not None and bias is not None and is_large(x.numel()):
        return normalise(x, weight, bias, eps)
    if tasks_together() == 1:
        return torch.batch_norm(x, weight, bias, None, None, True, 0.0, eps, True)
    return _normalise_by(measure(x), x, weight, bias, eps)


def measure(x: Tensor) -> Statistics:
    """Compute mean and biased variance of a batch, [channels], in float32 or better."""
    variance, mean = torch.var_mean(full_precision(x), [0, *range(2, x.ndim)], correction=0)
    return Statistics(mean, variance)


def _normalise_by(
    statistics: Statistics, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    # combine the small tensors first: a single pass over x, forward and backward
    scale = torch.rsqrt(statistics.variance + eps)
    scale = scale if weight is None else scale * weight
    shift = -statistics.mean * scale if bias is None else bias - statistics.mean * scale
    return affine(x, scale, shift).to(x.dtype) if x.dtype in HALF else affine(x, scale, shift)


def _refuse_one_value(x: Tensor, rows: int | None) -> None:
    """Refuse a batch of one value per channel: it equals its mean, so the output is the bias."""
    count = (len(x) if rows is None else rows) * x.shape[2:].numel()
    if count == 1:
        raise UserError(
            "A batch norm got a single row, which has no statistics: its output would not depend "
            "on the input. Pass several rows together, or normalise by the support set's "
            "statistics (norm_mode=inductive) or by stored ones (norm_mode=frozen or per_step)."
        )


def _refuse_frozen(name: str) -> NoReturn:
    raise UserError(
        f"The running statistics of {name} are used by F.batch_norm(training=False), but {name} "
        f"itself is in train(). Set {name}.eval() before the network is given to an objective: it "
        "then always uses them."
    )


def _refuse_folded(name: str | None, rows: int, batch: int | None) -> NoReturn:
    raise UserError(
        f"norm_mode=inductive takes statistics from the support set's rows, but the batch norm "
        f"{name or 'called by F.batch_norm'} gets {rows} rows of {batch} examples: other "
        "dimensions are folded into its rows. Keep the examples in the first dimension, or use "
        "norm_mode=transductive, frozen or per_step."
    )


aten = torch.ops.aten
ALWAYS: dict[Callable[..., object], Callable[..., object]] = {
    torch.batch_norm: batch_norm,
    aten.batch_norm: batch_norm,
    aten.batch_norm.default: batch_norm,
}
