"""Almost No Inner Loop, Raghu, Raghu, Bengio, Vinyals 2020 (arXiv:1909.09157)."""

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
    """MAML whose inner loop adapts only the head (section 4).

        head_{k+1} = head_k - alpha * grad_head L(body, head_k; support)

    The body is meta-learned in two ways: through the query loss and, by mixed second derivatives,
    through its effect on the head's gradients. In evaluation it is a fixed feature extractor.
    `first_order` drops the second way.

    The model's last layer must be its attribute `head`. Args: as in `maml`.
    """
    return GradientBased(
        objective=objective,
        part="head",
        update=Update([StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
