"""Meta-SGD: learned step sizes."""

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
    """MAML that also learns the direction: a step size for each element of each parameter.

    Li, Zhou, Chen, Li 2017 (arXiv:1707.09835):

        phi_{k+1} = phi_k - alpha * grad L(phi_k; support), alpha of theta's shape (eq. 3)

    Outer loop (Algorithm 1): theta and alpha descend the mean query loss together. An element of
    alpha may become negative or zero: alpha is a learned diagonal preconditioner.

    Deviations: all of alpha starts at inner_lr, where the paper samples it from [0.005, 0.1]. The
    paper takes one inner step; here inner_steps share the same alpha.

    Args: as in `maml`; inner_lr is the initial alpha.

    Examples:
        >>> import torch
        >>> from metaloop import Objective, meta_sgd
        >>> objective = Objective(model=torch.nn.Linear(2, 1), loss=torch.nn.MSELoss())
        >>> algorithm = meta_sgd(
        ...     objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5, adjoint="unrolled"
        ... )
        >>> algorithm.own_parameters()
        {'step_size.weight': tensor([[0.1000, 0.1000]]), 'step_size.bias': tensor([0.1000])}

    """
    return GradientBased(
        objective=objective,
        update=Update([LearnedStepSize(inner_lr, "element")]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
