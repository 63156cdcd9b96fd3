"""Meta-Curvature, Park and Oliva 2019 (arXiv:1902.03356)."""

from metaloop.algorithms.gradient_based import GradientBased
from metaloop.arguments import Count, Positive
from metaloop.inner_loop import AdjointName, Curvature, Objective, StepSize, Update


def meta_curvature(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    adjoint: AdjointName,
) -> GradientBased:
    """MAML that also learns to transform the inner gradient: a block-diagonal preconditioner.

        phi_{k+1} = phi_k - alpha * MC(grad L(phi_k; support))        (eq. 11)

    MC multiplies each tensor's gradient by a learned matrix along each of its modes (outputs,
    inputs, kernel positions: eq. 10), a Kronecker-factored matrix for each tensor. Theta and the
    matrices, initially the identity, descend the mean query loss together.

    Deviation: biases and norm parameters also get a matrix; the paper only mentions weights.

    Args: as in `maml`.
    """
    return GradientBased(
        objective=objective,
        update=Update([Curvature(), StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
