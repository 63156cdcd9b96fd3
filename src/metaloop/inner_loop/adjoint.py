"""How the meta-gradient flows back through one step of the inner loop."""

from collections.abc import Callable
from typing import Literal

from metaloop.episode import Examples
from metaloop.inner_loop.inner_step import InnerStep
from metaloop.inner_loop.objective import Parameters
from metaloop.inner_loop.recomputed import recompute
from metaloop.inner_loop.update import State

AdjointName = Literal["unrolled", "recomputed", "first_order", "implicit"]
# those that compute a step anew on the way back, where they take products with Hessians
EVALUATED_TWICE = ("recomputed", "implicit")


Adjoint = Callable[[InnerStep, State, Parameters, Parameters, Examples, int], State]


def unrolled(
    inner: InnerStep, state: State, theta: Parameters, own: Parameters, support: Examples, step: int
) -> State:
    """Exact: the step's graph is kept, with the Hessian that its gradient depends on."""
    gradient = inner.gradient(state.phi, theta, support)
    return inner.move(state, gradient, theta, own, support, step)


def first_order(
    inner: InnerStep, state: State, theta: Parameters, own: Parameters, support: Examples, step: int
) -> State:
    """Biased: the gradient is a constant, so every Hessian drops out.

    Finn et al. 2017 (arXiv:1703.03400), section 5.2, "first-order approximation". What the update
    itself has learned (step sizes) still gets its exact gradient at that constant.
    """
    constant = {n: p.detach() for n, p in state.phi.items()}
    fixed = {n: p.detach() for n, p in theta.items()}
    gradient = inner.gradient(constant, fixed, support)
    at = {**fixed, **constant}
    return inner.move(state, gradient, theta, own, support, step, at=at)


def recomputed(
    inner: InnerStep, state: State, theta: Parameters, own: Parameters, support: Examples, step: int
) -> State:
    """Exact: the step's graph is thrown away, and its derivative computed anew on the way back.

    Memory grows by a copy of the adapted state and its gradient a step, not by a graph a step;
    compare Kemaev et al. 2025 (arXiv:2505.00793).
    """
    return recompute(inner, state, theta, own, support, step)


ADJOINTS: dict[AdjointName, Adjoint] = {
    "unrolled": unrolled,
    "recomputed": recomputed,
    "first_order": first_order,
    "implicit": first_order,  # the way there is a constant: see implicit.py for its end
}
