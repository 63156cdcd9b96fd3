"""Are the objective's derivatives those of the objective? Compared with central differences.

The one reference that needs no derivative: first derivatives against values, second derivatives
against first ones, along fixed directions, at theta and at a point away from it.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metaloop.errors import UserError
from metaloop.inner_loop import Parameters
from metaloop.inner_loop.hessian import hessian_product
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

STEPS = {  # of the differences: a kink may lie between the ends of one
    torch.float64: (1e-5, 1e-6, 1e-7, 1e-4, 1e-8, 1e-9),
    torch.float32: (1e-2, 3e-3, 3e-2, 1e-3),
}
# constants to reverse mode that forward mode differentiates
ONE_MODE_ALONE = ("torch.no_grad", "Tensor.data")
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-2}


@dataclass(frozen=True)
class Probe:
    """The support loss at one point, differentiated by plain autograd from one random state."""

    trial: Trial
    precise: torch.dtype

    def value(self, theta: Parameters) -> Tensor:
        """The loss."""
        with self.trial.same_random_state(), torch.no_grad():
            return support_and_loss(self.trial)[1](theta).detach()

    def gradient(self, theta: Parameters) -> Parameters:
        """Its gradient."""
        return gradient(support_and_loss(self.trial)[1], theta, self.trial)[1]

    def along(self, direction: Parameters, step: float) -> tuple[Parameters, Parameters]:
        """The two ends of a central difference."""
        up, down = (
            {n: p + s * direction[n] for n, p in self.trial.theta.items()} for s in (step, -step)
        )
        return up, down

    def reverse_product(self, direction: Parameters) -> Parameters:
        """H direction, reverse over reverse: what an unrolled inner loop takes."""
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
        """H direction, forward over reverse: what is computed again on the way back."""
        trial = self.trial
        inner = InnerStep(trial.objective, Update([]))
        with trial.same_random_state():
            found = hessian_product(
                inner.gradient, trial.theta, support_and_loss(trial)[0], direction
            )
        return {n: g.detach() for n, g in found.items()}


def check_pieces(trial: Trial, points: Iterable[Trial], precise: torch.dtype) -> list[str]:
    """Compare the derivatives that the algorithm takes with central differences.

    Args:
        trial: the algorithm's copy.
        points: the same at several parameters.
        precise: how precisely its loss is computed, whatever its parameters' type.

    Returns:
        what a user should know: which gradients are no slopes (straight-through estimators).

    Raises:
        UserError: a second derivative is wrong, or the two modes differ.

    """
    odd: set[str] = set()
    direction = _direction(trial)
    for point in points:
        probe = Probe(point, precise)
        here = _no_slope(probe, direction)
        odd |= here
        if trial.algorithm.needs_second_derivative:
            _check_products(probe, direction, here)
    if not odd:
        return []
    return [
        f"The gradient of {some(sorted(odd))} is not the slope of the loss (a straight-through "
        "estimator, detach, or a backward of its own): taken as meant. There second derivatives "
        "are not compared with differences of the loss, but of each autograd.Function's backward, "
        "and with forward mode where it runs."
    ]


def _no_slope(probe: Probe, direction: Parameters) -> set[str]:
    """The parameters whose gradient is not the slope of the loss."""
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
    """Of the gradient along a direction, relative to what a random one would see of it."""
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
    if odd and forward is None and not _calls(probe) & set(ONE_MODE_ALONE):
        # nothing else can tell what the second derivative of such a gradient should be
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
    """Refuse what the two modes of differentiation see differently, naming the likely reason."""
    trial = probe.trial
    name = type(trial.model).__name__
    adjoint = trial.algorithm.describe().get("adjoint", type(trial.algorithm).__name__)
    distance = _distance(forward, reverse)
    if constant := _calls(probe) & set(ONE_MODE_ALONE):
        raise UserError(
            f"{name} or its loss uses {' and '.join(sorted(constant))} in its forward pass, which "
            f"forward mode passes through and reverse mode does not, and adjoint={adjoint} uses "
            f"both: they differ by {distance:.1e}. Write x.detach() for what is to be a constant, "
            "or set algorithm.adjoint=unrolled."
        )
    raise UserError(
        f"The second derivative of {name}'s support loss differs by {distance:.1e} between forward "
        f"and reverse mode, so that one of them is wrong (adjoint={adjoint}). Look at "
        f"{suspects(trial.model)}, and at the loss: a backward of its own has to be "
        "differentiable, and needs a jvp that fits it."
    )


def _check_functions(probe: Probe) -> None:
    """Refuse an autograd.Function whose backward is differentiated wrongly."""
    trial, loss = probe.trial, support_and_loss(probe.trial)[1]
    with calls_of_functions() as calls, trial.same_random_state(), torch.enable_grad():
        loss({n: p.detach().requires_grad_() for n, p in trial.theta.items()})
    if name := wrongly_derived(calls, probe.precise):
        raise wrong_function(trial, name)


def _calls(probe: Probe) -> set[str]:
    """What the loss calls that changes derivatives."""
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
    """The smallest error of several differences; the first that is small enough ends it."""
    smallest: float = float("inf")
    for step in STEPS[probe.precise]:
        smallest = min(smallest, error(step))  # a nan compares as larger
        if smallest < TOLERANCE[probe.precise]:
            break
    return smallest


def _direction(trial: Trial) -> Parameters:
    """A fixed unit direction of what adapts, zero in rows whose gradient is zero by definition."""
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


def dot(one: Parameters, other: Parameters) -> Tensor:
    """The inner product over all tensors."""
    return torch.stack([(value * other[name]).sum() for name, value in one.items()]).sum()


def norm_of(tensors: Iterable[Tensor]) -> Tensor:
    """The norm of all the tensors together."""
    norm: Tensor = torch.stack([tensor.norm() for tensor in tensors]).norm()
    return norm
