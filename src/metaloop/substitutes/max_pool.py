"""Max-pooling whose derivatives of any order keep the memory format of the images.

y takes the largest element of each window, and its derivative sends g back to that position. A
second-order meta-gradient also needs the derivative of <v, gx>: with respect to g it gathers v at
those positions, with respect to x it is zero. Torch materialises this zero with channels first,
while the tensors it is added to are channels-last; every later operation then mixes two memory
formats and is many times slower. So large channels-last images of one task are pooled here, and
all others by torch.
"""

from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.substitutes.transforms import is_large, tasks_together

aten = torch.ops.aten
Size = int | tuple[int, ...] | list[int]


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """Pool as torch does; large images of one task in 2 x 2 windows use a custom derivative."""
    is_halving = (_pair(kernel_size), _pair(stride or kernel_size)) == ((2, 2), (2, 2))
    is_plain = _pair(padding) == (0, 0) and _pair(dilation) == (1, 1) and not ceil_mode
    is_alone = input.ndim == 4 and tasks_together() == 1
    if is_halving and is_plain and is_alone and is_large(input.numel()):
        return pool(input)
    return torch.max_pool2d(input, kernel_size, stride or (), padding, dilation, ceil_mode)


def _pair(size: Size) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


def pool(x: Tensor) -> Tensor:
    """Take the largest element of each 2 x 2 window; an odd row or column is left out.

    Differentiable in reverse mode, to any order; exact under vmap.

    Shapes:
        x [rows, channels, height, width] -> [rows, channels, height // 2, width // 2]
    """
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
        ctx.set_materialize_grads(False)  # no zeros for the indices' missing gradient
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    def backward(ctx: _Context, *bars: Tensor) -> Tensor:
        return cast(Tensor, _apply(_Scatter, bars[0], *ctx.saved_tensors))


class _Scatter(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor, x: Tensor, indices: Tensor) -> Tensor:
        window = ([2, 2], [2, 2], [0, 0], [1, 1], False)
        return cast(Tensor, aten.max_pool2d_with_indices_backward(g, x, *window, indices))

    @staticmethod
    def setup_context(ctx: _Context, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: _Context, *bars: Tensor) -> tuple[Tensor | None, ...]:
        (indices,) = ctx.saved_tensors
        return _gather(bars[0], indices), None, None


def _gather(v: Tensor, indices: Tensor) -> Tensor:
    """Gather the elements of v at flat image indices [rows, channels, h, w]."""
    elements, at = (t.flatten(2).transpose(1, 2) for t in (v, indices))
    return elements.gather(1, at).transpose(1, 2).view(indices.shape)


ALWAYS: dict[Callable[..., object], Callable[..., object]] = {
    F.max_pool2d: max_pool2d,
    torch.max_pool2d: max_pool2d,
}
