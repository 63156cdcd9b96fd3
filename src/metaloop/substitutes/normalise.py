"""Batch normalisation of large batches, with both derivatives computed by torch's kernels.

With m and s a channel's mean and deviation, n its number of elements, and z = (x - m) / s,

    y  = w z + b
    gx = w/s P(g),   P(g) = g - mean(g) - z mean(g z)
    gw = sum(g z),   gb = sum(g)

The derivative of <v, gx> + <vw, gw> + <vb, gb>, which a second-order meta-gradient asks for, is

    to g:  w/s P(v) + vw z + vb
    to w:  n/s c,   c = mean(v g) - mean(v) mean(g) - mean(v z) mean(g z)
    to x:  1/s P((vw - w/s mean(v z)) g - w/s mean(g z) v) - w/s^2 c z

where each P is again the kernel of the first derivative. Torch's second derivative passes over
the images many more times, and is slowest with channels last.
"""

from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor

aten = torch.ops.aten
Derivatives = tuple[Tensor, Tensor, Tensor]


def normalise(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalise x by the batch's statistics to w z + b; reverse mode of any order, exact vmap.

    Shapes:
        x [rows, channels, *any], weight and bias [channels]
    """
    y, _, _ = _apply(_Normalise, x, weight, bias, eps)
    return y


def _apply(function: type[torch.autograd.Function], *inputs: Tensor | float) -> Derivatives:
    return cast(Derivatives, function.apply(*inputs))  # type: ignore[no-untyped-call]


class _Context(Protocol):
    eps: float
    saved_tensors: tuple[Tensor, ...]

    def save_for_backward(self, *tensors: Tensor) -> None: ...
    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Derivatives:
        result = aten.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        return cast(Derivatives, result)

    @staticmethod
    def setup_context(
        ctx: _Context, inputs: tuple[Tensor, Tensor, Tensor, float], output: Derivatives
    ) -> None:
        x, weight, _, ctx.eps = inputs
        _, mean, inverse = output  # the derivatives below include their share
        ctx.mark_non_differentiable(mean, inverse)
        ctx.save_for_backward(x, weight, mean, inverse)

    @staticmethod
    def backward(ctx: _Context, *bars: Tensor) -> tuple[Tensor | None, ...]:
        derivatives = _apply(_Derivative, bars[0], *ctx.saved_tensors, ctx.eps)
        return (*derivatives, None)

    @staticmethod
    def vmap(
        info: "_Vmapped", in_dims: tuple[int | None, ...], *inputs: Tensor
    ) -> tuple[Derivatives, tuple[int, int, int]]:
        x, weight, bias, eps = inputs
        tasks, dims = info.batch_size, in_dims
        rows, scale = _with_tasks(x, dims[0], tasks), _all_tasks(weight, dims[1], tasks)
        y, *statistics = _apply(_Normalise, rows, scale, _all_tasks(bias, dims[2], tasks), eps)
        return _a_task_each(y, *statistics, tasks=tasks), (1, 0, 0)


class _Derivative(torch.autograd.Function):
    """Compute (gx, gw, gb); mean and inverse = 1/s belong to x and are not differentiated alone."""

    @staticmethod
    def forward(
        g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, eps: float
    ) -> Derivatives:
        return _kernel(_match_layout(x, g), x, weight, mean, inverse, eps)

    @staticmethod
    def setup_context(
        ctx: _Context,
        inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float],
        output: Derivatives,
    ) -> None:
        *tensors, ctx.eps = inputs
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    def backward(ctx: _Context, *bars: Tensor) -> tuple[Tensor | None, ...]:
        g, x, weight, *found = ctx.saved_tensors
        if torch.is_grad_enabled():  # a third derivative may follow
            composed = partial(_composed_derivative, eps=ctx.eps)
            return (*torch.func.vjp(composed, g, x, weight)[1](bars), None, None, None)
        return (*_second(bars, g, x, weight, found, ctx.eps), None, None, None)

    @staticmethod
    def vmap(
        info: "_Vmapped", in_dims: tuple[int | None, ...], *inputs: Tensor
    ) -> tuple[Derivatives, tuple[int, int, int]]:
        (g, x, *small), eps, tasks = inputs[:-1], inputs[-1], info.batch_size
        large = [_with_tasks(t, d, tasks) for t, d in zip((g, x), in_dims, strict=False)]
        rest = [_all_tasks(t, d, tasks) for t, d in zip(small, in_dims[2:], strict=False)]
        return _a_task_each(*_apply(_Derivative, *large, *rest, eps), tasks=tasks), (1, 0, 0)


def _second(
    bars: tuple[Tensor, ...],
    g: Tensor,
    x: Tensor,
    weight: Tensor,
    found: list[Tensor],
    eps: float,
) -> Derivatives:
    """Differentiate <v, gx> + <vw, gw> + <vb, gb>: the formulas in this file's docstring."""
    v, vw, vb = bars
    v, g = _match_layout(x, v), _match_layout(x, g)
    mean, inverse, sum_gz, sum_g = found
    n = x.numel() // x.shape[1]
    projected_v, sum_vz, sum_v = _kernel(v, x, weight, mean, inverse, eps)
    mean_gz, mean_vz = sum_gz / n, sum_vz / n
    mean_vg = (v * g).sum([0, *range(2, x.ndim)]) / n
    c = mean_vg - (sum_v / n) * (sum_g / n) - mean_vz * mean_gz

    to_g = projected_v + affine(x, vw * inverse, vb - vw * inverse * mean)
    of_g, of_v = vw - weight * inverse * mean_vz, -weight * inverse * mean_gz
    both = torch.addcmul(g * _wide(of_g, x), v, _wide(of_v, x))
    projected, _, _ = _kernel(both, x, torch.ones_like(weight), mean, inverse, eps)
    of_x = -weight * inverse**3 * c
    return to_g, projected + affine(x, of_x, -of_x * mean), n * inverse * c


def _composed_derivative(g: Tensor, x: Tensor, weight: Tensor, eps: float) -> Derivatives:
    """Compute (gx, gw, gb) from primitives, which can be differentiated further."""
    axes = [0, *range(2, x.ndim)]
    variance, mean = torch.var_mean(x, axes, correction=0)
    inverse = torch.rsqrt(variance + eps)
    z = (x - _wide(mean, x)) * _wide(inverse, x)
    projected = g - _wide(g.mean(axes), x) - z * _wide((g * z).mean(axes), x)
    return _wide(weight * inverse, x) * projected, (g * z).sum(axes), g.sum(axes)


def _kernel(
    g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, eps: float
) -> Derivatives:
    everything = [True, True, True]
    result = aten.native_batch_norm_backward(
        g, x, weight, None, None, mean, inverse, True, eps, everything
    )
    return cast(Derivatives, result)


def _match_layout(x: Tensor, other: Tensor) -> Tensor:
    """Give `other` the memory format of x: kernels are many times slower on mixed formats."""
    last = torch.channels_last
    if x.ndim == 4 and x.is_contiguous(memory_format=last) and not x.is_contiguous():
        return other.contiguous(memory_format=last)
    return other


def affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return x * scale + shift in one pass over x; scale and shift are [channels]."""
    return torch.addcmul(_wide(shift, x), x, _wide(scale, x))


def _wide(channels: Tensor, x: Tensor) -> Tensor:
    """Reshape [channels] to [1, channels, 1 ..], to broadcast over x."""
    return channels.view(1, -1, *[1] * (x.ndim - 2))


class _Vmapped(Protocol):
    batch_size: int


def _with_tasks(x: Tensor, dim: int | None, tasks: int) -> Tensor:
    """Merge T batches into one with T times the channels: no statistic mixes two tasks."""
    x = x[None].expand(tasks, *x.shape) if dim is None else x.movedim(dim, 0)
    return x.movedim(0, 1).flatten(1, 2)


def _all_tasks(channels: Tensor, dim: int | None, tasks: int) -> Tensor:
    channels = channels.expand(tasks, -1) if dim is None else channels.movedim(dim, 0)
    return channels.reshape(-1)


def _a_task_each(x: Tensor, *channels: Tensor, tasks: int) -> Derivatives:
    parted = (x.view(len(x), tasks, -1, *x.shape[2:]), *(c.view(tasks, -1) for c in channels))
    return cast(Derivatives, parted)
