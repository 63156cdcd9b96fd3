"""Body Only update in Inner Loop, Oh, Yoo, Kim, Yun 2021 (arXiv:2008.08882)."""

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
    """MAML whose inner loop adapts everything except the head (section 3, eq. 2).

        body_{k+1} = body_k - alpha * grad_body L(body_k, head; support)

    The head is meta-learned and stays fixed within a task, so the representation has to change
    from task to task: the opposite of ANIL.

    The model's last layer must be its attribute `head`. Args: as in `maml`.
    """
    return GradientBased(
        objective=objective,
        part="body",
        update=Update([StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
