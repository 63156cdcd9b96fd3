"""Meta-Curvature: a learned preconditioner."""

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

    Park and Oliva 2019 (arXiv:1902.03356):

        phi_{k+1} = phi_k - alpha * MC(grad L(phi_k; support))        (eq. 11)

    MC multiplies each tensor's gradient by a learned matrix along each of its modes (outputs,
    inputs, kernel positions: eq. 10), a Kronecker-factored matrix for each tensor. Theta and the
    matrices, initially the identity, descend the mean query loss together.

    Deviation: biases and norm parameters also get a matrix; the paper only mentions weights.

    Args: as in `maml`.

    Examples:
        >>> import torch
        >>> from metaloop import Objective, meta_curvature
        >>> objective = Objective(model=torch.nn.Linear(3, 2), loss=torch.nn.MSELoss())
        >>> algorithm = meta_curvature(
        ...     objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5, adjoint="unrolled"
        ... )
        >>> {name: tuple(p.shape) for name, p in algorithm.own_parameters().items()}
        {'curvature.weight.0': (2, 2), 'curvature.weight.1': (3, 3), 'curvature.bias.0': (2, 2)}

    """
    return GradientBased(
        objective=objective,
        update=Update([Curvature(), StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
