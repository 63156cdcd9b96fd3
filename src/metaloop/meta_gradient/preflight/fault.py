"""Model or loss: the piece at fault, found by asking the loss alone."""

import math

import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.meta_gradient.preflight.cause import in_words, no_gradient, suspects
from metaloop.meta_gradient.preflight.forward_check import name_of
from metaloop.meta_gradient.preflight.trial import Trial

WRONG = 1e-4  # of a difference in float64, where a right one is below 1e-6


def no_second_derivative(trial: Trial, error: Exception) -> UserError:
    """Explain why the support loss cannot be differentiated as the algorithm does it."""
    if _differentiates_loss(trial):
        return no_gradient(trial.algorithm, error)
    return UserError(
        f"The loss {name_of(trial.objective.loss)} cannot be differentiated twice: "
        f"{in_words(error)}. Write it from plain tensor operations, or set "
        "algorithm.adjoint=first_order."
    )


def not_finite(trial: Trial) -> UserError:
    """Explain that plain autograd itself gives no finite meta-gradient."""
    return UserError(
        f"The meta-gradient of {type(trial.model).__name__} is nan or infinite at its initial "
        "weights, in plain autograd too. Look for what has no finite derivative where it is used: "
        "a square root, norm or logarithm at zero (torch.where does not hide it), equal "
        f"eigenvalues; in {suspects(trial.model)}, or in the loss. Where the inner steps leave "
        "what the loss is defined for, lower algorithm.inner_lr."
    )


def wrong_second_derivative(trial: Trial, off: float) -> UserError:
    """Explain that the second derivative of the support loss is wrong."""
    if not math.isfinite(off):
        return not_finite(trial)
    model = type(trial.model).__name__
    if _differentiates_loss(trial):
        place, what = f"Look at {suspects(trial.model)}", "a layer"
    else:
        place, what = f"Look at the loss {name_of(trial.objective.loss)}", "a loss"
    return UserError(
        f"No exact meta-gradient goes through {model}: the second derivative of its support loss "
        f"is off by {off:.1e} of a finite difference. {place}: {what} with a backward pass of its "
        "own, as that of torch's weight_norm, has to be differentiable twice. Write it from plain "
        "tensor operations, or set algorithm.adjoint=first_order."
    )


def wrong_function(trial: Trial, function: str) -> UserError:
    """Explain that a user's own backward has another derivative than autograd takes."""
    return UserError(
        f"No exact meta-gradient goes through {type(trial.model).__name__}: the backward of its "
        f"autograd.Function {function} is not differentiated as it should be, so that its second "
        "derivative is off a finite difference. Write the backward from differentiable operations "
        "on saved tensors, or set algorithm.adjoint=first_order."
    )


def not_vectorised(trial: Trial) -> str:
    """Name the piece that is to be looked at where vectorising fails or is inexact."""
    predictions, targets = _of_loss(trial)
    both = (torch.stack([predictions] * 2), torch.stack([targets] * 2))
    try:
        torch.func.vmap(trial.objective.loss)(*both)
    except Exception:
        return f"the loss {name_of(trial.objective.loss)}"
    return suspects(trial.model)


def _differentiates_loss(trial: Trial) -> bool:
    """Whether the loss by itself has the second derivative that differences say."""
    predictions, targets = _of_loss(trial)
    generator = torch.Generator().manual_seed(2)
    direction = torch.randn(predictions.shape, generator=generator, dtype=torch.float64)
    direction = direction.to(predictions)
    loss = trial.objective.loss

    def gradient(at: Tensor, *, graph: bool = False) -> tuple[Tensor, Tensor]:
        leaf = at.detach().requires_grad_()
        return torch.autograd.grad(loss(leaf, targets), leaf, create_graph=graph)[0], leaf

    with torch.enable_grad(), trial.same_random_state():
        try:
            slope, leaf = gradient(predictions, graph=True)
            if not slope.requires_grad:
                product = torch.zeros_like(leaf)
            else:
                product = torch.autograd.grad(
                    (slope * direction).sum(), leaf, materialize_grads=True
                )[0]
        except Exception:
            return False
        step = 1e-6 if trial.dtype is torch.float64 else 1e-2
        up, down = (gradient(predictions + s * direction)[0] for s in (step, -step))
    size = slope.norm() + product.norm()
    off = (product - (up - down) / (2 * step)).norm() / size.clamp(min=1e-30)
    return bool(off < (WRONG if trial.dtype is torch.float64 else 100 * WRONG))


def _of_loss(trial: Trial) -> tuple[Tensor, Tensor]:
    support = trial.task(0).support
    with trial.same_random_state(), torch.no_grad():
        return trial.objective.predict_support(trial.theta, support.inputs), support.targets
