"""Losses for which torch lacks a second derivative, a forward mode or a vmap rule.

`size_average` and `reduce` are deprecated in torch, but its modules still pass them.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.substitutes.precision import full_precision


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Compute z^2 / 2 where |z| <= delta and delta (|z| - delta / 2) beyond; z = input - target.

    Huber 1964. Torch's version has no forward mode.
    """
    if delta <= 0:
        raise UserError(f"huber_loss needs a delta above 0, not {delta}.")
    x, y = _broadcast(input, target)
    size = (x - y).abs()
    values = torch.where(size <= delta, 0.5 * size.square(), delta * (size - 0.5 * delta))
    if weight is not None:
        values = values * _check_weight(weight, input)
    return _reduce(values, reduction).to(torch.result_type(input, target))


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Compute (input - target)^2. Torch's mean has no forward mode for a constant target."""
    x, y = _broadcast(input, target)
    reduction = _reduction(size_average, reduce, reduction)
    values = (x - y).square()
    if weight is None:
        return _reduce(values, reduction).to(torch.result_type(input, target))
    weight = _check_weight(weight, input)
    if reduction == "mean":
        return ((values * weight).sum() / weight.sum()).to(torch.result_type(input, target))
    return _reduce(values * weight, reduction).to(torch.result_type(input, target))


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Compute log(1 + exp(-target input)). Torch's has no forward mode."""
    # softplus is linear beyond its threshold: from 40 on this is exact in float64
    values = F.softplus(-full_precision(target) * full_precision(input), threshold=40)
    return _reduce(values, _reduction(size_average, reduce, reduction)).to(
        torch.result_type(input, target)
    )


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Compute the mean over classes of -y log s(x) - (1 - y) log(1 - s(x)), s the sigmoid.

    Torch's calls its own logsigmoid, which warns of resized outputs in vmapped forward mode.
    """
    x, y = full_precision(input), full_precision(target)
    # -log s(x) = softplus(-x)
    values = y * F.softplus(-x, threshold=40) + (1 - y) * F.softplus(x, threshold=40)
    if weight is not None:
        values = values * weight
    values = values.sum(-1) / input.shape[-1]
    return _reduce(values, _reduction(size_average, reduce, reduction)).to(
        torch.result_type(input, target)
    )


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the input where target is 1, max(0, margin - input) where it is -1.

    Torch's version adds in place, which vmap refuses where only one of the two differs by task.
    """
    x = full_precision(input)
    far = torch.where(target != 1, (margin - x).clamp(min=0), 0.0)
    values = far + torch.where(target != -1, x, 0.0)
    return _reduce(values, _reduction(size_average, reduce, reduction)).to(
        torch.result_type(input, target)
    )


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Compute w_y sum_{j != y} max(0, margin - x_y + x_j)^p / C: torch's lacks a 2nd derivative.

    Shapes: input [N, C] or [C], target [N] or a single class.
    """
    if p not in (1, 2):
        raise UserError(f"multi_margin_loss needs p=1 or p=2, not {p}.")
    x = full_precision(input)
    y = target.reshape(input.shape[:-1]).unsqueeze(-1)
    distance = torch.relu(margin - x.gather(-1, y) + x)
    powers = distance.square() if p == 2 else distance
    if weight is not None:
        powers = powers * full_precision(weight)[y]
    is_target = torch.arange(x.shape[-1], device=x.device) == y
    values = torch.where(is_target, 0.0, powers).sum(-1) / x.shape[-1]
    return _reduce(values, _reduction(size_average, reduce, reduction)).to(input.dtype)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Sum max(0, 1 - x_y + x_j) / C over labels y and non-labels j: torch's lacks a 2nd derivative.

    Shapes: input [N, C] or [C], target like input: labels up to the first -1.
    """
    x = full_precision(input)
    counts = (target < 0).cumsum(-1) == 0
    labels = torch.where(counts, target, 0)
    classes = torch.arange(x.shape[-1], device=x.device)
    is_label = (counts.unsqueeze(-1) & (labels.unsqueeze(-1) == classes)).any(-2)
    distance = torch.relu(1 - x.gather(-1, labels).unsqueeze(-1) + x.unsqueeze(-2))
    is_pair = counts.unsqueeze(-1) & ~is_label.unsqueeze(-2)
    values = torch.where(is_pair, distance, 0.0).sum((-2, -1)) / x.shape[-1]
    return _reduce(values, _reduction(size_average, reduce, reduction)).to(input.dtype)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Compute (log v + (input - target)^2 / v) / 2, v = max(var, eps): Nix and Weigend 1994.

    Torch's version reads the values of var, which vmap refuses. The derivative is that of v = var,
    as in torch; a negative var gives NaN.
    """
    x = full_precision(input)
    given = full_precision(var) if isinstance(var, Tensor) else torch.full_like(x, var)
    if given.shape != x.shape:
        if x.shape[:-1] == given.shape:
            given = given.unsqueeze(-1)
        elif x.dim() != given.dim() or _sizes_that_differ(x, given) != [1]:
            raise UserError(
                "The variances of gaussian_nll_loss need the predictions' shape, or size 1 in one "
                f"dimension: {list(given.shape)} does not fit {list(x.shape)}."
            )
    v = given + (given.clamp(min=eps) - given).detach()
    v = torch.where(given < 0, torch.nan, v)
    values = 0.5 * (torch.log(v) + (x - full_precision(target)).square() / v)
    if full:
        values = values + 0.5 * math.log(2 * math.pi)
    return _reduce(values, reduction).to(torch.result_type(input, target))


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute (1 - s) CE + s / C sum_c CE_c: Szegedy et al. 2016 (arXiv:1512.00567), section 7.

    Torch's version masks in place, which vmap refuses where only the targets differ by task.
    It is exact without smoothing and for class probabilities.
    """
    reduction = _reduction(size_average, reduce, reduction)
    if not label_smoothing or target.is_floating_point():
        return F.cross_entropy(
            input,
            target,
            weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )
    class_dim = 1 if input.dim() > 1 else 0
    log_p = full_precision(input).log_softmax(class_dim)
    w = None if weight is None else full_precision(weight)
    plain = F.nll_loss(log_p, target, w, ignore_index=ignore_index, reduction=reduction)
    counts = target != ignore_index
    dims_after = log_p.dim() - class_dim - 1
    weighted = log_p if w is None else log_p * w.reshape(-1, *[1] * dims_after)
    values = torch.where(counts, -weighted.sum(class_dim), 0.0)
    if reduction == "mean":
        weights = torch.ones_like(values) if w is None else w[torch.where(counts, target, 0)]
        uniform = values.sum() / torch.where(counts, weights, 0.0).sum()
    else:
        uniform = _reduce(values, reduction)
    smoothed = (1 - label_smoothing) * plain + label_smoothing / input.shape[class_dim] * uniform
    return smoothed.to(input.dtype)


def _broadcast(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if input.shape != target.shape:
        F.l1_loss(input.detach(), target.detach())  # gives torch's warning of unequal sizes
    x, y = torch.broadcast_tensors(  # type: ignore[no-untyped-call]
        full_precision(input), full_precision(target)
    )
    return x, y


def _check_weight(weight: Tensor, input: Tensor) -> Tensor:
    if weight.shape != input.shape:
        raise UserError(
            "A loss's weight must have the shape of its input, "
            f"{list(input.shape)}, not {list(weight.shape)}."
        )
    return full_precision(weight)


def _sizes_that_differ(x: Tensor, other: Tensor) -> list[int]:
    return [b for a, b in zip(x.shape, other.shape, strict=True) if a != b]


def _reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """Translate torch's deprecated arguments, where given, to a reduction."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def _reduce(values: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction == "none":
        return values
    raise UserError(f"reduction must be none, mean or sum, not '{reduction}'.")


ALWAYS: dict[Callable[..., object], Callable[..., object]] = {
    F.huber_loss: huber_loss,
    F.soft_margin_loss: soft_margin_loss,
    F.hinge_embedding_loss: hinge_embedding_loss,
    F.multi_margin_loss: multi_margin_loss,
    F.multilabel_margin_loss: multilabel_margin_loss,
    F.gaussian_nll_loss: gaussian_nll_loss,
    F.cross_entropy: cross_entropy,
}
# elsewhere torch's version is exact, and a single call
FORWARD: dict[Callable[..., object], Callable[..., object]] = {
    F.mse_loss: mse_loss,
    F.multilabel_soft_margin_loss: multilabel_soft_margin_loss,
}
