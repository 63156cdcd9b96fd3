"""The meta-gradient at the end of a proximal inner loop, independent of the path to it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from metaloop.episode import Episode
from metaloop.inner_loop.hessian import Vector, conjugate_gradient, dot, hessian_product
from metaloop.inner_loop.inner_step import InnerStep
from metaloop.inner_loop.objective import Parameters, Report


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
    """Return a scalar whose gradient in theta is the implicit meta-gradient.

    phi minimises L(phi; support) + lambda / 2 |phi - theta|^2 in the parameters `names`, so

        d phi / d theta = (I + H / lambda)^-1     Rajeswaran et al. 2019 (arXiv:1909.04630), eq. 6
        v = (I + H / lambda)^-1 grad L(phi; query)    by conjugate gradient, eq. 7

    and v is the meta-gradient. For a parameter that does not adapt, the meta-gradient is its
    gradient minus 1 / lambda times its rows of H v.

    The report adds `cg_residual` |(I + H / lambda) v - g| / |g| and `proximal_gradient`
    |grad L + lambda (phi - theta)| / |grad L|: the distance of phi from the minimum that the
    formulas assume.
    """
    end = {name: p.detach() for name, p in phi.items()}
    start = {name: theta[name].detach() for name in names}
    gradient, (loss, report) = torch.func.grad(
        lambda phi: _loss_with_aux(*inner.objective.judge_query(phi, episode)), has_aux=True
    )(end)
    target = {name: gradient[name] for name in names}

    def product(v: Vector) -> Vector:
        return hessian_product(inner.gradient, end, episode.support, v)

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
    report["cg_residual"] = (dot(left, left) / dot(target, target)).sqrt()
    report["proximal_gradient"] = (dot(pull, pull) / dot(slope, slope)).sqrt()
    shift = {name: theta[name] - theta[name].detach() for name in theta}
    return loss + dot(shift, {n: g.detach() for n, g in meta_gradient.items()}), report


def _loss_with_aux(loss: Tensor, report: Report) -> tuple[Tensor, tuple[Tensor, Report]]:
    return loss, (loss.detach(), report)
