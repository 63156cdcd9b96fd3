"""Compare the objective's derivatives with central differences.

Only this reference needs no derivatives: first derivatives are compared with values, second
derivatives with first ones, along fixed directions, at theta and at another point.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metaloop.errors import UserError
from metaloop.inner_loop import Parameters
from metaloop.inner_loop.hessian import dot, hessian_product
from metaloop.inner_loop.inner_step import InnerStep
from metaloop.inner_loop.update import Update
from metaloop.meta_gradient.preflight.cause import some, suspects, witness
from metaloop.meta_gradient.preflight.fault import (
    no_second_derivative,
    wrong_function,
    wrong_second_derivative,
)
from metaloop.meta_gradient.preflight.functions import calls_of_functions, wrongly_derived
from metaloop.meta_gradient.preflight.trial import Trial, gradient, support_and_loss

STEPS = {  # of the differences; several, since a kink may lie within a step
    torch.float64: (1e-5, 1e-6, 1e-7, 1e-4, 1e-8, 1e-9),
    torch.float32: (1e-2, 3e-3, 3e-2, 1e-3),
}
# constant in reverse mode, but differentiated in forward mode
ONLY_FORWARD = (
    "torch.no_grad",
    "torch.set_grad_enabled",
    "torch.inference_mode",
    "Tensor.data",
    "Tensor.detach_",
)
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-2}


@dataclass(frozen=True)
class Probe:
    """The support loss at one point, differentiated by plain autograd from a fixed random state."""

    trial: Trial
    precise: torch.dtype

    def value(self, theta: Parameters) -> Tensor:
        """Compute the loss."""
        with self.trial.same_random_state(), torch.no_grad():
            return support_and_loss(self.trial)[1](theta).detach()

    def gradient(self, theta: Parameters) -> Parameters:
        """Compute the loss's gradient."""
        return gradient(support_and_loss(self.trial)[1], theta, self.trial)[1]

    def along(self, direction: Parameters, step: float) -> tuple[Parameters, Parameters]:
        """Return the two points of a central difference."""
        up, down = (
            {n: p + s * direction[n] for n, p in self.trial.theta.items()} for s in (step, -step)
        )
        return up, down

    def reverse_product(self, direction: Parameters) -> Parameters:
        """Compute H direction, reverse over reverse, as an unrolled inner loop does."""
        loss, trial = support_and_loss(self.trial)[1], self.trial
        with trial.same_random_state(), torch.enable_grad():
            leaves = {n: p.detach().requires_grad_() for n, p in trial.theta.items()}
            first = torch.autograd.grad(
                loss(leaves), list(leaves.values()), create_graph=True, materialize_grads=True
            )
            slope = dot(dict(zip(leaves, first, strict=True)), direction)
            if not slope.requires_grad:
                return {n: torch.zeros_like(p) for n, p in leaves.items()}
            found = torch.autograd.grad(slope, list(leaves.values()), materialize_grads=True)
        return {n: g.detach() for n, g in zip(leaves, found, strict=True)}

    def forward_product(self, direction: Parameters) -> Parameters:
        """Compute H direction, forward over reverse, as adjoint=recomputed does."""
        trial = self.trial
        inner = InnerStep(trial.objective, Update([]))
        with trial.same_random_state():
            found = hessian_product(
                inner.gradient, trial.theta, support_and_loss(trial)[0], direction
            )
        return {n: g.detach() for n, g in found.items()}


def check_pieces(trial: Trial, points: Iterable[Trial], precise: torch.dtype) -> list[str]:
    """Compare the derivatives that the algorithm uses with central differences.

    Args:
        trial: a copy of the algorithm.
        points: the trial at several parameters.
        precise: actual precision of its loss, whatever the dtype of its parameters.

    Returns:
        notes for the user: gradients that are not slopes (straight-through estimators).

    Raises:
        UserError: if a second derivative is wrong, or the two modes differ.

    """
    odd: set[str] = set()
    direction = _direction(trial)
    for point in points:
        probe = Probe(point, precise)
        here = _find_odd(probe, direction)
        odd |= here
        if trial.algorithm.needs_second_derivative:
            _check_products(probe, direction, here)
    if not odd:
        return []
    return [
        f"The gradient of {some(sorted(odd))} is not the slope of the loss (because of a "
        "straight-through estimator, detach, or a custom backward). This is assumed to be "
        "intended. Their second derivatives are compared with differences of each "
        "autograd.Function's backward, and with forward mode where it runs, not with the loss."
    ]


def _find_odd(probe: Probe, direction: Parameters) -> set[str]:
    """Find the parameters whose gradient is not the slope of the loss."""
    theta = probe.trial.theta
    if _slope_error(probe, direction) < TOLERANCE[probe.precise]:
        return set()
    alone = {
        name: {n: d if n == name else torch.zeros_like(d) for n, d in direction.items()}
        for name in theta
        if bool(direction[name].any())
    }
    scaled = {name: _unit(d) for name, d in alone.items()}
    return {n for n, d in scaled.items() if _slope_error(probe, d) >= TOLERANCE[probe.precise]}


def _slope_error(probe: Probe, direction: Parameters) -> float:
    """Measure the error of the gradient along a direction, relative to its expected size."""
    theta = probe.trial.theta
    found = probe.gradient(theta)
    elements = sum(int((d != 0).sum()) for d in direction.values())
    moved = [g * (direction[n] != 0) for n, g in found.items()]
    slope = dot(found, direction)
    size = max(float(slope.abs()), float(norm_of(moved)) / math.sqrt(max(1, elements)))
    floor = max(size, 1e-8 * float(probe.value(theta).abs()), 1e-30)

    def error(step: float) -> float:
        up, down = (probe.value(end) for end in probe.along(direction, step))
        return abs(float(slope) - float(up - down) / (2 * step)) / floor

    return _smallest(error, probe)


def _check_products(probe: Probe, direction: Parameters, odd: set[str]) -> None:
    algorithm = probe.trial.algorithm
    forward = None
    try:
        reverse = probe.reverse_product(direction)
        if algorithm.needs_forward_mode:
            forward = probe.forward_product(direction)
    except UserError:
        raise
    except Exception as error:
        raise no_second_derivative(probe.trial, error) from error
    if odd and forward is None and not _calls(probe) & set(ONLY_FORWARD):
        # only forward mode can then check the second derivative of such a gradient
        with suppress(Exception):
            forward = probe.forward_product(direction)
    if forward is not None and _distance(forward, reverse) > TOLERANCE[probe.precise]:
        _refuse_modes(probe, forward, reverse)
    kept = {n: d * (n not in odd) for n, d in direction.items()}
    if odd:
        _check_functions(probe)
        if not any(bool(d.any()) for d in kept.values()):
            return
        kept = _unit(kept)
        reverse = probe.reverse_product(kept)
    if (error_found := _product_error(probe, kept, reverse)) < TOLERANCE[probe.precise]:
        return
    raise wrong_second_derivative(probe.trial, error_found)


def _refuse_modes(probe: Probe, forward: Parameters, reverse: Parameters) -> None:
    """Refuse a difference between the two modes of differentiation, with its likely reason."""
    trial = probe.trial
    name = type(trial.model).__name__
    adjoint = trial.algorithm.describe().get("adjoint", type(trial.algorithm).__name__)
    distance = _distance(forward, reverse)
    if constant := _calls(probe) & set(ONLY_FORWARD):
        raise UserError(
            f"{name} or its loss uses {' and '.join(sorted(constant))} in its forward pass. "
            "Reverse mode treats that as constant, forward mode does not, and "
            f"adjoint={adjoint} uses both: they differ by {distance:.1e}. Write x.detach() for "
            "constants, or set algorithm.adjoint=unrolled."
        )
    raise UserError(
        f"The second derivative of {name}'s support loss differs by {distance:.1e} between forward "
        f"and reverse mode, so one of them is wrong (adjoint={adjoint}). Look at "
        f"{suspects(trial.model)}, and at the loss: a custom backward must be differentiable, and "
        "needs a matching jvp."
    )


def _check_functions(probe: Probe) -> None:
    """Refuse an autograd.Function whose backward is differentiated wrongly."""
    trial, loss = probe.trial, support_and_loss(probe.trial)[1]
    with calls_of_functions() as calls, trial.same_random_state(), torch.enable_grad():
        loss({n: p.detach().requires_grad_() for n, p in trial.theta.items()})
    if name := wrongly_derived(calls, probe.precise):
        raise wrong_function(trial, name)


def _calls(probe: Probe) -> set[str]:
    """Collect the functions that the loss calls and that change derivatives."""
    trial, loss = probe.trial, support_and_loss(probe.trial)[1]
    with witness() as seen, trial.same_random_state(), torch.enable_grad():
        loss({n: p.detach().requires_grad_() for n, p in trial.theta.items()})
    return seen


def _product_error(probe: Probe, direction: Parameters, product: Parameters) -> float:
    size = float(norm_of(product.values()) + norm_of(probe.gradient(probe.trial.theta).values()))

    def error(step: float) -> float:
        up, down = (probe.gradient(end) for end in probe.along(direction, step))
        off = [product[n] - (up[n] - down[n]) / (2 * step) for n in product]
        return float(norm_of(off)) / max(size, 1e-30)

    return _smallest(error, probe)


def _smallest(error: Callable[[float], float], probe: Probe) -> float:
    """Return the smallest error over several steps; stop at the first within the tolerance."""
    smallest: float = float("inf")
    for step in STEPS[probe.precise]:
        smallest = min(smallest, error(step))  # min ignores a nan
        if smallest < TOLERANCE[probe.precise]:
            break
    return smallest


def _direction(trial: Trial) -> Parameters:
    """Return a fixed unit direction in the adapting parameters, 0 in padding rows."""
    generator = torch.Generator().manual_seed(1)
    names = trial.algorithm.names
    direction = {}
    for name, p in trial.theta.items():
        draw = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
        direction[name] = draw * (name in names)
    for path, module in trial.model.named_modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            name = f"{path}.weight".lstrip(".")
            if name in direction:
                direction[name][module.padding_idx] = 0
    return _unit(direction)


def _unit(direction: Parameters) -> dict[str, Tensor]:
    size = norm_of(direction.values()).clamp(min=1e-30)
    return {n: d / size for n, d in direction.items()}


def _distance(one: Parameters, other: Parameters) -> float:
    size = float(norm_of(one.values()) + norm_of(other.values()))
    return float(norm_of(one[n] - other[n] for n in one)) / max(size, 1e-30)


def norm_of(tensors: Iterable[Tensor]) -> Tensor:
    """Compute the norm of all the tensors together."""
    norm: Tensor = torch.stack([tensor.norm() for tensor in tensors]).norm()
    return norm
