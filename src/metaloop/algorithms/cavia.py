"""Fast context adaptation, Zintgraf, Shiarlis, Kurin, Hofmann, Whiteson 2019 (arXiv:1810.03642)."""

from metaloop.algorithms.gradient_based import GradientBased
from metaloop.arguments import Count, Positive
from metaloop.inner_loop import AdjointName, Objective, StepSize, Update


def cavia(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    adjoint: AdjointName,
) -> GradientBased:
    """MAML whose inner loop moves a few context parameters alone, inputs of the network.

    Inner loop (eq. 7), from phi_0 = 0 for every task:

        phi_{k+1} = phi_k - alpha * grad_phi L(phi_k, theta; support)

    Outer loop (eq. 8): theta descends the query loss through the adapted context. The context
    itself is not meta-learned: it starts at zero.

    The model has to declare its context: `model.context_size` of mlp (concatenated to the input)
    and conv4 (scale and shift of a block's channels), or a parameter named `context` of a model
    of your own.

    Deviation: conv4's channels are scaled by 1 + W phi, the paper's by W phi + b; equal up to
    how b starts.

    Args: as in `maml`.
    """
    return GradientBased(
        objective=objective,
        part="context",
        update=Update([StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
