"""iMAML: implicit MAML."""

from metaloop.algorithms.gradient_based import GradientBased
from metaloop.arguments import Count, Positive
from metaloop.inner_loop import (
    Newton,
    Objective,
    StepSize,
    TowardsTheta,
    Transformation,
    Update,
)


def imaml(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    strength: Positive,
    cg_steps: Count,
    hessian_free_steps: Count | None,
) -> GradientBased:
    """MAML whose meta-gradient depends only on the inner loop's end, not on its path.

    Rajeswaran, Finn, Kakade, Levine 2019 (arXiv:1909.04630). Inner problem (eq. 3), solved by K
    steps of gradient descent or of Newton's method:

        phi = argmin L(phi; support) + lambda / 2 * |phi - theta|^2

    Meta-gradient (eq. 6 and 7), by conjugate gradient on Hessian-vector products:

        (I + H(phi) / lambda)^-1 * grad L(phi; query)

    Memory does not grow with K. Two inexact parts are reported: `cg_residual` of the linear
    system and `proximal_gradient` of the inner problem.

    Deviation: the authors' code damps the linear system on some problems; this one does not.

    Args:
        objective: model, loss and metrics.
        inner_lr: step size of the inner descent; stable below 2 / (|H| + lambda).
        inner_steps: K in meta-training.
        eval_inner_steps: K in evaluation.
        strength: lambda.
        cg_steps: conjugate-gradient steps for the meta-gradient.
        hessian_free_steps: if given, descend along Newton's direction, found by this many steps of
            conjugate gradient ("Hessian-free"); inner_lr is then a fraction of a Newton step.

    Examples:
        >>> import torch
        >>> from metaloop import Episode, Examples, Objective, imaml
        >>> objective = Objective(model=torch.nn.Linear(1, 1, bias=False), loss=torch.nn.MSELoss())
        >>> algorithm = imaml(
        ...     objective, inner_lr=0.25, inner_steps=1, eval_inner_steps=5, strength=2.0,
        ...     cg_steps=1, hessian_free_steps=None,
        ... )
        >>> one = Examples(torch.ones(1, 1), torch.zeros(1, 1))  # L(w) = w^2, phi = theta / 2
        >>> theta, episode = {"weight": torch.ones(1, 1)}, Episode(one, one, torch.empty(0))
        >>> torch.func.grad(algorithm.meta_loss, has_aux=True)(theta, episode)[0]  # phi
        {'weight': tensor([[0.5000]])}

    """
    chain: list[Transformation] = [TowardsTheta(strength)]
    if hessian_free_steps is not None:
        chain.append(Newton(strength, hessian_free_steps))
    return GradientBased(
        objective=objective,
        update=Update([*chain, StepSize(inner_lr)]),
        adjoint="implicit",
        cg_steps=cg_steps,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
