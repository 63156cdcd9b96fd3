"""Meta-SGD, Li, Zhou, Chen, Li 2017 (arXiv:1707.09835)."""

from metaloop.algorithms.gradient_based import GradientBased
from metaloop.arguments import Count, Positive
from metaloop.inner_loop import AdjointName, LearnedStepSize, Objective, Update


def meta_sgd(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    adjoint: AdjointName,
) -> GradientBased:
    """MAML that also learns the direction: a step size for every element of every parameter.

        phi_{k+1} = phi_k - alpha * grad L(phi_k; support), alpha of theta's shape (eq. 3)

    Outer loop (Algorithm 1): theta and alpha together descend the mean query loss. An element of
    alpha may become negative or vanish: it is a learned diagonal preconditioner.

    Deviations: alpha starts at one number, where the paper draws it from [0.005, 0.1]; the paper
    takes one inner step, here inner_steps reuse the same alpha.

    Args: as in `maml`; inner_lr is where alpha starts.
    """
    return GradientBased(
        objective=objective,
        update=Update([LearnedStepSize(inner_lr, "element")]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
