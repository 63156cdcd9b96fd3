"""BOIL: body only update in the inner loop."""

from metaloop.algorithms.gradient_based import GradientBased
from metaloop.arguments import Count, Positive
from metaloop.inner_loop import AdjointName, Objective, StepSize, Update


def boil(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    adjoint: AdjointName,
) -> GradientBased:
    """MAML whose inner loop adapts everything except the head.

    Oh, Yoo, Kim, Yun 2021 (arXiv:2008.08882), section 3, eq. 2:

        body_{k+1} = body_k - alpha * grad_body L(body_k, head; support)

    The head is meta-learned and stays fixed within a task, so the representation has to change
    from task to task: the opposite of ANIL.

    Args: as in `maml`.

    Raises:
        UserError: if the model's last layer is not its attribute `head`.

    Examples:
        >>> import torch
        >>> from metaloop import MLP, Objective, boil
        >>> objective = Objective(model=MLP(1, 1, hidden=[8]), loss=torch.nn.MSELoss())
        >>> boil(
        ...     objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5, adjoint="unrolled"
        ... ).names
        ('body.1.weight', 'body.1.bias')

    """
    return GradientBased(
        objective=objective,
        part="body",
        update=Update([StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
