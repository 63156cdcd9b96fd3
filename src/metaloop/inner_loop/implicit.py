"""The meta-gradient at the end of a proximal inner loop, whatever way led there."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from metaloop.episode import Episode
from metaloop.inner_loop.inner_step import InnerStep
from metaloop.inner_loop.objective import Parameters, Report
from metaloop.inner_loop.recomputed import hessian_product

Vector = dict[str, Tensor]
CONVERGED = 1e-30  # of the right-hand side's square: below it a direction is rounding noise


def implicit_meta_loss(
    inner: InnerStep,
    theta: Parameters,
    phi: Parameters,
    episode: Episode,
    *,
    names: Sequence[str],
    strength: float,
    cg_steps: int,
) -> tuple[Tensor, Report]:
    """A scalar whose gradient in theta is the implicit meta-gradient.

    phi minimises L(phi; support) + lambda / 2 |phi - theta|^2 in the parameters `names`, so

        d phi / d theta = (I + H / lambda)^-1     Rajeswaran et al. 2019 (arXiv:1909.04630), eq. 6
        v = (I + H / lambda)^-1 grad L(phi; query)    by conjugate gradient, eq. 7

    and v is the meta-gradient. A parameter that does not adapt has its own gradient less
    1 / lambda times its rows of H v.

    The report has, beside the query set's, `cg_residual` |(I + H / lambda) v - g| / |g|, and
    `proximal_gradient` |grad L + lambda (phi - theta)| / |grad L|: how far phi is from the
    minimum that all of this supposes.
    """
    end = {name: p.detach() for name, p in phi.items()}
    start = {name: theta[name].detach() for name in names}
    gradient, (loss, report) = torch.func.grad(
        lambda phi: _with_loss(*inner.objective.judge_query(phi, episode)), has_aux=True
    )(end)
    target = {name: gradient[name] for name in names}

    def product(v: Vector) -> Vector:
        return dict(hessian_product(inner, end, episode.support, v))

    def operator(v: Vector) -> Vector:
        curved = product(v)
        return {name: v[name] + curved[name] / strength for name in names}

    v = conjugate_gradient(operator, target, cg_steps)
    curved = product(v)
    meta_gradient = {
        name: v[name] if name in v else gradient[name] - curved[name] / strength for name in theta
    }
    left = {name: v[name] + curved[name] / strength - target[name] for name in names}
    adapting = {name: end[name] for name in names}
    slope = inner.gradient(adapting, end, episode.support)
    pull = {name: slope[name] + strength * (end[name] - start[name]) for name in names}
    report["cg_residual"] = (_dot(left, left) / _dot(target, target)).sqrt()
    report["proximal_gradient"] = (_dot(pull, pull) / _dot(slope, slope)).sqrt()
    shift = {name: theta[name] - theta[name].detach() for name in theta}
    return loss + _dot(shift, {n: g.detach() for n, g in meta_gradient.items()}), report


def conjugate_gradient(operator: Callable[[Vector], Vector], b: Vector, steps: int) -> Vector:
    """Solve operator(x) = b for a positive definite operator (Hestenes and Stiefel 1952).

    A fixed number of steps, so that tasks can be vectorised; a task that has converged, or meets
    negative curvature, stays where it is.
    """
    x = {name: torch.zeros_like(value) for name, value in b.items()}
    residual, direction = dict(b), dict(b)
    square = first = _dot(b, b)
    for _ in range(steps):
        curved = operator(direction)
        curvature = _dot(direction, curved)
        is_going = (curvature > 0) & (square > CONVERGED * first)
        length = torch.where(is_going, square / torch.where(is_going, curvature, 1.0), 0.0)
        x = {n: x[n] + length * direction[n] for n in x}
        residual = {n: residual[n] - length * curved[n] for n in x}
        new = _dot(residual, residual)
        turn = torch.where(is_going, new / torch.where(is_going, square, 1.0), 0.0)
        direction = {n: residual[n] + turn * direction[n] for n in x}
        square = new
    return x


def _with_loss(loss: Tensor, report: Report) -> tuple[Tensor, tuple[Tensor, Report]]:
    return loss, (loss.detach(), report)


def _dot(one: Parameters, other: Parameters) -> Tensor:
    return torch.stack([(value * other[name]).sum() for name, value in one.items()]).sum()
