"""ANIL: almost no inner loop."""

from metaloop.algorithms.gradient_based import GradientBased
from metaloop.arguments import Count, Positive
from metaloop.inner_loop import AdjointName, Objective, StepSize, Update


def anil(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    adjoint: AdjointName,
) -> GradientBased:
    """MAML whose inner loop adapts only the head.

    Raghu, Raghu, Bengio, Vinyals 2020 (arXiv:1909.09157), section 4:

        head_{k+1} = head_k - alpha * grad_head L(body, head_k; support)

    The body is meta-learned in two ways: through the query loss and, by mixed second derivatives,
    through its effect on the head's gradients. In evaluation it is a fixed feature extractor.
    `first_order` drops the second way.

    Args: as in `maml`.

    Raises:
        UserError: if the model's last layer is not its attribute `head`.

    Examples:
        >>> import torch
        >>> from metaloop import MLP, Objective, anil
        >>> objective = Objective(model=MLP(1, 1, hidden=[8]), loss=torch.nn.MSELoss())
        >>> anil(
        ...     objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5, adjoint="unrolled"
        ... ).names
        ('head.weight', 'head.bias')

    """
    return GradientBased(
        objective=objective,
        part="head",
        update=Update([StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
