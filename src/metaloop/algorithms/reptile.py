"""Reptile: move towards adapted parameters."""

from metaloop.algorithms.gradient_based import GradientBased, SquaredDistance
from metaloop.arguments import Count, Fraction, Positive
from metaloop.inner_loop import Adam, Objective, StepSize, Update


def reptile(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    beta1: Fraction,
    beta2: Fraction,
    batch_size: Count | None,
) -> GradientBased:
    """Move towards the end of a few training steps on a task: no query set, no Hessian.

    Nichol, Achiam, Schulman 2018 (arXiv:1803.02999).

    Inner loop, K steps of Adam on minibatches of the support set. Outer loop (Algorithm 2):

        theta <- theta + epsilon * mean_tasks (phi_K - theta)

    which is gradient descent with step size epsilon on |theta - phi_K|^2 / 2 for constant phi_K:
    use `optimizer=sgd` with its learning rate epsilon annealed linearly to 0 (`scheduler=linear`).

    Deviations: Adam's state is reset for every task, where the authors' code carries it over
    (which could not be vectorised or split over processes). Minibatches cycle through the support
    set, where the authors sample them.

    Args:
        objective: model, loss and metrics.
        inner_lr, beta1, beta2: of Adam; the authors' beta1 is 0.
        inner_steps, eval_inner_steps: K in meta-training and in evaluation.
        batch_size: support examples per step; None uses all.

    Examples:
        >>> import torch
        >>> from metaloop import Episode, Examples, Objective, reptile
        >>> objective = Objective(model=torch.nn.Linear(1, 1, bias=False), loss=torch.nn.MSELoss())
        >>> algorithm = reptile(
        ...     objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5, beta1=0.0, beta2=0.999,
        ...     batch_size=None,
        ... )
        >>> one = Examples(torch.ones(1, 1), torch.zeros(1, 1))
        >>> theta, episode = {"weight": torch.ones(1, 1)}, Episode(one, one, torch.empty(0))
        >>> torch.func.grad(algorithm.meta_loss, has_aux=True)(theta, episode)[0]  # theta - phi_1
        {'weight': tensor([[0.1000]])}

    """
    return GradientBased(
        objective=objective,
        update=Update([Adam(beta1, beta2), StepSize(inner_lr)]),
        adjoint="first_order",
        outer_loss=SquaredDistance(),
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
        batch_size=batch_size,
    )
