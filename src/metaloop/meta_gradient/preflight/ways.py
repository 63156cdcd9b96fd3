"""Compare each way to compute the meta-gradient with plain autograd, task by task."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from metaloop.meta_gradient.adaptation_path import adaptation_path
from metaloop.meta_gradient.meta_gradient import AtOnce, Gradient, meta_gradient
from metaloop.meta_gradient.preflight.cause import in_words
from metaloop.meta_gradient.preflight.pieces import norm_of
from metaloop.meta_gradient.preflight.trial import Trial
from metaloop.meta_gradient.preflight.verdict import Tried
from metaloop.substitutes.precision import HALF

VECTORISED, ONE_BY_ONE = "all tasks vectorised", "task by task"
SIDE_BY_SIDE = "two tasks side by side"
WAYS: dict[str, AtOnce] = {
    VECTORISED: {"tasks_at_once": "all", "chunks_at_once": 1},
    ONE_BY_ONE: {"tasks_at_once": 1, "chunks_at_once": 1},
    SIDE_BY_SIDE: {"tasks_at_once": 1, "chunks_at_once": 2},
}
TOLERANCE = {torch.float64: 1e-9, **dict.fromkeys((torch.float32, *HALF), 1e-4)}
Compute = Callable[[Trial, str], Gradient]


def plain_meta_gradient(trial: Trial) -> Gradient:
    """Average grad meta_loss over the tasks: a loop, autograd, contiguous tensors, no torch.func.

    (adjoint=recomputed and implicit call torch.func themselves.)
    """
    total = {name: torch.zeros_like(p) for name, p in trial.meta.items()}
    with trial.same_random_state(), torch.enable_grad():
        for number in range(2):
            leaves = {n: p.detach().requires_grad_() for n, p in trial.meta.items()}
            loss, _ = trial.algorithm.meta_loss(leaves, trial.task(number))
            found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
            total = {n: t + g / 2 for (n, t), g in zip(total.items(), found, strict=True)}
    return total


def of_training(trial: Trial, way: str) -> Gradient:
    """Compute the meta-gradient of the two tasks in this way."""
    with trial.same_random_state():
        return meta_gradient(trial.algorithm, trial.meta, trial.tasks, **WAYS[way])[0]


def of_evaluation(trial: Trial, way: str) -> Gradient:
    """Compute an evaluation's report of the two tasks in this way; nan, as of a metric, is 0."""
    steps = min(2, trial.algorithm.eval_inner_steps)
    with trial.same_random_state():
        path = adaptation_path(trial.algorithm, trial.meta, trial.tasks, steps=steps, **WAYS[way])
    return {name: values.nan_to_num() for name, values in path.items()}


def try_way(
    trial: Trial, way: str, plain: Gradient, precise: torch.dtype, compute: Compute = of_training
) -> Tried:
    """Compute in one way and compare with the plain result."""
    start = time.perf_counter()
    try:
        found = compute(trial, way)
    except Exception as error:  # whatever a layer raises under vmap is the reason
        reason = f"fails ({in_words(error)})"
        return Tried(way, None, reason, time.perf_counter() - start)
    seconds, off = time.perf_counter() - start, distance(found, plain)
    if off <= TOLERANCE[precise]:  # false for nan
        return Tried(way, off, "", seconds)
    reason = f"is off by {off:.1e}"
    if distance(compute(_one_rounding_away(trial), way), found) > off / 10:
        reason += (
            " (its inner steps magnify rounding: changing every weight by one rounding error "
            "changes the gradient as much; take smaller steps or more examples)"
        )
    return Tried(way, off, reason, seconds)


def _one_rounding_away(trial: Trial) -> Trial:
    """Return the trial with each parameter replaced by the next larger number."""
    infinity = torch.tensor(torch.inf)
    return replace(
        trial, meta={n: torch.nextafter(p, infinity.to(p)) for n, p in trial.meta.items()}
    )


def is_finite(gradient: Gradient) -> bool:
    """Check that no element is nan or infinite."""
    return all(bool(torch.isfinite(g).all()) for g in gradient.values())


def distance(found: Gradient, plain: Gradient) -> float:
    """Return the largest difference of a tensor, relative to the whole gradient's norm."""
    norm = norm_of(plain.values()).clamp(min=1e-30)
    off: list[Tensor] = [(found[name] - g).norm() / norm for name, g in plain.items()]
    return float(torch.stack(off).max())
