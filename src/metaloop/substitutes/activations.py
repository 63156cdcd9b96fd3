"""Activations for which torch lacks a second derivative or a vmap rule."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.substitutes.precision import full_precision


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Clip x / 6 + 1 / 2 to 0..1. Torch's has no second derivative and no forward mode."""
    x = full_precision(input.clone() if inplace else input)
    # not clamp: its derivative at the corners is not zero
    flat = torch.where(x >= 3, torch.ones_like(x), torch.zeros_like(x))
    result = torch.where((x > -3) & (x < 3), (x + 3) / 6, flat).to(input.dtype)
    return input.copy_(result) if inplace else result


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Scale non-positive values by a learned slope: a single one, or one per channel (dimension 1).

    He et al. 2015 (arXiv:1502.01852), eq. 1. Where only the slope differs between tasks, torch's
    version resizes its outputs, which is deprecated.
    """
    channels = [1] * (input.dim() - 2)
    slope = weight.reshape(-1, *channels) if weight.numel() > 1 else weight.reshape(())
    return torch.where(input > 0, input, slope * input)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Scale negative values by a random slope from lower..upper. Torch's has no vmap rule.

    Xu et al. 2015 (arXiv:1505.00853). In evaluation the slope is (lower + upper) / 2.
    """
    x = input.clone() if inplace else input
    if training:
        slope = lower + (upper - lower) * torch.rand_like(full_precision(x)).to(x.dtype)
    else:
        slope = torch.full_like(x, (lower + upper) / 2)
    result = torch.where(x > 0, x, x * slope)
    return input.copy_(result) if inplace else result


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Sample softmax((logits + g) / tau), g = -log(-log u): Jang et al. 2017 (arXiv:1611.01144).

    Torch's version samples in place, which vmap refuses where all tasks share the logits.
    """
    noise = torch.rand_like(full_precision(logits))
    gumbels = -torch.log(-torch.log(noise))
    soft = ((full_precision(logits) + gumbels) / tau).softmax(dim).to(logits.dtype)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    return torch.zeros_like(soft).scatter(dim, index, 1.0) - soft.detach() + soft


def _rrelu_in_place(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    return rrelu(input, lower, upper, training, inplace=True)


def logsigmoid(input: Tensor) -> Tensor:
    """Compute -log(1 + exp(-x)). Torch's warns of resized outputs in vmapped forward mode."""
    return -F.softplus(-full_precision(input), threshold=40).to(input.dtype)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Multiply one half by the sigmoid of the other: Dauphin et al. 2017 (arXiv:1612.08083).

    Torch's has no forward mode in bfloat16, and is slow in a vmapped one.
    """
    value, gate = full_precision(input).chunk(2, dim)
    return (value * gate.sigmoid()).to(input.dtype)


ALWAYS: dict[Callable[..., object], Callable[..., object]] = {F.hardsigmoid: hardsigmoid}
# Under any vmap, recorded or not. Elsewhere torch's versions keep the samples that a seed gives.
VMAPPED: dict[Callable[..., object], Callable[..., object]] = {
    F.rrelu: rrelu,
    torch.rrelu: rrelu,
    F.rrelu_: _rrelu_in_place,
    F.gumbel_softmax: gumbel_softmax,
}
VECTORISED: dict[Callable[..., object], Callable[..., object]] = {
    **VMAPPED,
    F.prelu: prelu,  # torch.prelu is the same object
    Tensor.prelu: prelu,
}
FORWARD: dict[Callable[..., object], Callable[..., object]] = {
    F.logsigmoid: logsigmoid,
    F.glu: glu,
}
