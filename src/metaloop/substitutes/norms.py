"""Normalisation by the input's statistics, from operations that vmap differentiates exactly.

    y = z * weight + bias,   z = (x - mean) / sqrt(variance + eps)

Torch's kernels are exact for one task. Where tasks are vectorised and second derivatives are
taken, their second derivative is silently wrong (functorch issue 534).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.substitutes.precision import full_precision

Triple = tuple[Tensor, Tensor, Tensor]


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Normalise over the last dimensions (Ba et al. 2016, arXiv:1607.06450, eq. 4).

    Shapes:
        input [*any, *normalized_shape], weight and bias [*normalized_shape]
    """
    y, _, _ = _normalise(input, _axes(input, normalized_shape), weight, bias, eps)
    # autocast leaves a layer norm's result in float32 on CUDA, and only there
    stays_float32 = input.device.type == "cuda" and torch.is_autocast_enabled("cuda")
    return y if stays_float32 else y.to(input.dtype)


def native_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Triple:
    """Normalise over the last dimensions; return y, the mean and 1 / sqrt(variance + eps)."""
    y, mean, inverse = _normalise(input, _axes(input, normalized_shape), weight, bias, eps)
    return y.to(input.dtype), mean, inverse


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each example (Ulyanov et al. 2016, arXiv:1607.08022, eq. 4).

    With use_input_stats=False the running statistics are used. They are never updated.

    Shapes:
        input [rows, channels, *any], everything else [channels]
    """
    if use_input_stats:
        if input.shape[2:].numel() == 1:
            raise ValueError(
                "An instance norm needs more than one value per channel, but its input has the "
                f"shape {list(input.shape)}."
            )
        axes = list(range(2, input.ndim))
        y, _, _ = _normalise(input, axes, _wide(weight, input), _wide(bias, input), eps)
        return y.to(input.dtype)
    mean, variance = _wide(running_mean, input), _wide(running_var, input)
    assert mean is not None, "use_input_stats=False needs running statistics"
    assert variance is not None, "mean and variance come together"
    z = (full_precision(input) - mean) * torch.rsqrt(full_precision(variance) + eps)
    return _affine(z, _wide(weight, input), _wide(bias, input)).to(input.dtype)


def instance_norm_without_writing(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Call torch's version without the running statistics that it would only update."""
    if use_input_stats:
        running_mean = running_var = None
    return F.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def torch_instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """Normalise each channel of each example, with torch.instance_norm's argument order."""
    return instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Call torch's version with a contiguous input: its forward mode fails on channels-last.

    The result has the input's memory format, so that later convolutions stay fast.

    Shapes:
        input [rows, channels, *any], weight and bias [channels]
    """
    y = F.group_norm(input.contiguous(), num_groups, weight, bias, eps)
    if input.ndim == 2 or not input.movedim(1, -1).is_contiguous():
        return y
    return y.movedim(1, -1).contiguous().movedim(-1, 1)


def _normalise(
    input: Tensor, axes: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Triple:
    """Return y in full precision, the mean and 1 / sqrt(variance + eps), with reduced axes kept."""
    x = full_precision(input)
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    inverse = torch.rsqrt(variance + eps)
    return _affine((x - mean) * inverse, weight, bias), mean, inverse


def _affine(z: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None and bias is not None:
        return torch.addcmul(full_precision(bias), z, full_precision(weight))
    if weight is not None:
        return z * full_precision(weight)
    return z if bias is None else z + full_precision(bias)


def _axes(input: Tensor, normalized_shape: Sequence[int]) -> list[int]:
    """List the axes of normalized_shape, counted from the end."""
    shape = tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise ValueError(
            f"A layer norm over the last dimensions {list(shape)} does not fit an input of shape "
            f"{list(input.shape)}."
        )
    return list(range(-len(shape), 0))


def _wide(channels: Tensor | None, x: Tensor) -> Tensor | None:
    """Reshape [channels] to [1, channels, 1 ..], to broadcast over x."""
    return None if channels is None else channels.view(1, -1, *[1] * (x.ndim - 2))


aten = torch.ops.aten
# each function has several names under which a mode sees it: torch.nn.functional's, C++'s, aten's
ALWAYS: dict[Callable[..., object], Callable[..., object]] = {
    F.instance_norm: instance_norm_without_writing,
    F.group_norm: group_norm,
    torch.group_norm: group_norm,
    aten.group_norm: group_norm,
    aten.group_norm.default: group_norm,
}
VECTORISED: dict[Callable[..., object], Callable[..., object]] = {
    F.layer_norm: layer_norm,
    torch.layer_norm: layer_norm,
    aten.layer_norm: layer_norm,
    aten.layer_norm.default: layer_norm,
    torch.native_layer_norm: native_layer_norm,
    aten.native_layer_norm: native_layer_norm,
    aten.native_layer_norm.default: native_layer_norm,
    F.instance_norm: instance_norm,
    torch.instance_norm: torch_instance_norm,
    aten.instance_norm: torch_instance_norm,
    aten.instance_norm.default: torch_instance_norm,
}
