"""Tell whether the model or the loss is at fault, by testing the loss alone."""

import math

import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.meta_gradient.preflight.cause import in_words, no_gradient, suspects
from metaloop.meta_gradient.preflight.forward_check import name_of
from metaloop.meta_gradient.preflight.trial import Trial

WRONG = 1e-4  # relative to a difference in float64, where a correct derivative is below 1e-6


def no_second_derivative(trial: Trial, error: Exception) -> UserError:
    """Explain why the support loss cannot be differentiated as the algorithm requires."""
    if _differentiates_loss(trial):
        return no_gradient(trial.algorithm, error)
    return UserError(
        f"The loss {name_of(trial.objective.loss)} cannot be differentiated twice: "
        f"{in_words(error)}. Write it in plain tensor operations, or set "
        "algorithm.adjoint=first_order."
    )


def not_finite(trial: Trial) -> UserError:
    """Explain that even plain autograd gives no finite meta-gradient."""
    return UserError(
        f"The meta-gradient of {type(trial.model).__name__} is nan or infinite at its initial "
        "weights, even with plain autograd. Look for an operation without a finite derivative: "
        "a square root, norm or logarithm at zero (torch.where does not hide it), or equal "
        f"eigenvalues; in {suspects(trial.model)}, or in the loss. If the inner steps leave "
        "the domain of the loss, lower algorithm.inner_lr."
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
        f"{model} has no exact meta-gradient: the second derivative of its support loss "
        f"is off by {off:.1e} from a finite difference. {place}: {what} with a custom backward "
        "pass, like torch's weight_norm, must be differentiable twice. Write it in plain "
        "tensor operations, or set algorithm.adjoint=first_order."
    )


def wrong_function(trial: Trial, function: str) -> UserError:
    """Explain that a custom backward is not differentiated correctly."""
    return UserError(
        f"{type(trial.model).__name__} has no exact meta-gradient: the backward pass of its "
        f"autograd.Function {function} is not differentiated correctly, so its second "
        "derivative differs from a finite difference. Write the backward in differentiable "
        "operations on saved tensors, or set algorithm.adjoint=first_order."
    )


def not_vectorised(trial: Trial) -> str:
    """Name the piece to look at where vectorising fails or is inexact."""
    predictions, targets = _loss_inputs(trial)
    both = (torch.stack([predictions] * 2), torch.stack([targets] * 2))
    objective = trial.objective
    metrics = {f"the metric {name}": metric for name, metric in objective.metrics.items()}
    for piece, function in {
        f"the loss {name_of(objective.loss)}": objective.loss,
        **metrics,
    }.items():
        try:
            torch.func.vmap(function)(*both)
        except Exception:
            return piece
    return suspects(trial.model)


def _differentiates_loss(trial: Trial) -> bool:
    """Check whether the loss alone has the second derivative that finite differences give."""
    predictions, targets = _loss_inputs(trial)
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


def _loss_inputs(trial: Trial) -> tuple[Tensor, Tensor]:
    support = trial.task(0).support
    with trial.same_random_state(), torch.no_grad():
        return trial.objective.predict_support(trial.theta, support.inputs), support.targets
