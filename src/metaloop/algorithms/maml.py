"""MAML: model-agnostic meta-learning."""

from metaloop.algorithms.gradient_based import GradientBased
from metaloop.arguments import Count, Positive
from metaloop.inner_loop import AdjointName, Objective, StepSize, Update


def maml(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    adjoint: AdjointName,
) -> GradientBased:
    """Learn an initialisation from which a few gradient steps solve a new task.

    Finn, Abbeel, Levine 2017 (arXiv:1703.03400). Inner loop (eq. 1), for k = 0 .. K-1 from phi_0 =
    theta:

        phi_{k+1} = phi_k - alpha * grad L(phi_k; support)

    Outer loop (Algorithm 1, line 8), by any optimizer on the mean over tasks:

        theta <- theta - beta * grad_theta L(phi_K(theta); query)

    The gradient in theta goes through the inner steps, so it contains Hessians of the support
    loss: d phi_{k+1} / d phi_k = I - alpha * H(phi_k).

    Deviation: alpha multiplies the gradient of the *mean* support loss. Finn's code divides the
    summed loss by the shots, so Finn's alpha is ours divided by the ways.

    Args:
        objective: model, loss and metrics.
        inner_lr: alpha.
        inner_steps: K in meta-training.
        eval_inner_steps: K in evaluation.
        adjoint: `unrolled` or `recomputed`, exact; `first_order`, without the Hessians (fomaml).

    Examples:
        >>> import torch
        >>> from metaloop import Episode, Examples, Objective, maml
        >>> objective = Objective(model=torch.nn.Linear(1, 1, bias=False), loss=torch.nn.MSELoss())
        >>> algorithm = maml(
        ...     objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5, adjoint="unrolled"
        ... )
        >>> one = Examples(torch.ones(1, 1), torch.zeros(1, 1))  # L(w) = w^2, phi_1 = 0.8 theta
        >>> theta, episode = {"weight": torch.ones(1, 1)}, Episode(one, one, torch.empty(0))
        >>> torch.func.grad(algorithm.meta_loss, has_aux=True)(theta, episode)[0]  # 2 phi_1 * 0.8
        {'weight': tensor([[1.2800]])}

    """
    return GradientBased(
        objective=objective,
        update=Update([StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
