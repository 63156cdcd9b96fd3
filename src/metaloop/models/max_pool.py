"""Max-pooling whose derivatives of any order keep the images' order in memory.

y takes the largest number of each window, and its derivative sends g back to where that was. The
derivative of <v, gx> to g, which a second-order meta-gradient asks for, takes v from there, and
that to x is zero. torch writes this zero out, with channels first, where the numbers that are
added to it lie channels last: all that follows passes over two orders at once, many times slower.
So large images of one task, which lie channels last, are pooled here, and all others by torch.
"""

from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metaloop.models.kernels import is_large, tasks_at_once

aten = torch.ops.aten


class MaxPool(nn.Module):
    """Halve the images: the largest number of each 2 x 2 window; an odd row or column is left out.

    Shapes:
        x [rows, channels, height, width] -> [rows, channels, height // 2, width // 2]
    """

    def forward(self, x: Tensor) -> Tensor:
        if tasks_at_once() == 1 and is_large(x.numel()):
            return pool(x)
        return F.max_pool2d(x, 2)


def pool(x: Tensor) -> Tensor:
    """As `MaxPool`, for reverse mode of any order; vmap is exact."""
    y, _ = _apply(_Pool, x)
    return cast(Tensor, y)


def _apply(function: type[torch.autograd.Function], *inputs: Tensor) -> Any:  # noqa: ANN401
    return function.apply(*inputs)  # type: ignore[no-untyped-call]


class _Context(Protocol):
    saved_tensors: tuple[Tensor, ...]

    def save_for_backward(self, *tensors: Tensor) -> None: ...
    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...
    def set_materialize_grads(self, value: bool) -> None: ...


class _Pool(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        return cast(tuple[Tensor, Tensor], aten.max_pool2d_with_indices(x, [2, 2]))

    @staticmethod
    def setup_context(ctx: _Context, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # no zeros in place of the places' gradient
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    def backward(ctx: _Context, *bars: Tensor) -> Tensor:
        return cast(Tensor, _apply(_SentBack, bars[0], *ctx.saved_tensors))


class _SentBack(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor, x: Tensor, places: Tensor) -> Tensor:
        window = ([2, 2], [2, 2], [0, 0], [1, 1], False)
        return cast(Tensor, aten.max_pool2d_with_indices_backward(g, x, *window, places))

    @staticmethod
    def setup_context(ctx: _Context, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: _Context, *bars: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        return _taken_from(bars[0], places), None, None


def _taken_from(v: Tensor, places: Tensor) -> Tensor:
    """The numbers of v at the places [rows, channels, h, w] of its images."""
    numbers, at = (t.flatten(2).transpose(1, 2) for t in (v, places))
    return numbers.gather(1, at).transpose(1, 2).view(places.shape)
