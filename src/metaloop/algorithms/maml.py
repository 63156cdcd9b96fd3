"""Model-Agnostic Meta-Learning, Finn, Abbeel, Levine 2017 (arXiv:1703.03400)."""

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

    Inner loop (eq. 1), for k = 0 .. K-1 from phi_0 = theta:

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

    """
    return GradientBased(
        objective=objective,
        update=Update([StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
