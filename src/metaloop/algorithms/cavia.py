"""CAVIA: fast context adaptation."""

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
    """MAML whose inner loop adapts only a few context parameters, which are network inputs.

    Zintgraf, Shiarlis, Kurin, Hofmann, Whiteson 2019 (arXiv:1810.03642). Inner loop (eq. 7), from
    phi_0 = 0 for every task:

        phi_{k+1} = phi_k - alpha * grad_phi L(phi_k, theta; support)

    Outer loop (eq. 8): theta descends the query loss through the adapted context. The context is
    not meta-learned: it starts at zero.

    The model must declare its context: `model.context_size` of mlp (concatenated to the input) or
    conv4 (scale and shift of one block's channels). In your own model, it is a parameter named
    `context`.

    Deviation: conv4 scales its channels by 1 + W phi, the paper by W phi + b. They differ only in
    the initial b.

    Args: as in `maml`.

    Raises:
        UserError: if the model has no context.

    Examples:
        >>> import torch
        >>> from metaloop import MLP, Objective, cavia
        >>> network = MLP(1, 1, hidden=[8], context_size=4)
        >>> objective = Objective(model=network, loss=torch.nn.MSELoss())
        >>> algorithm = cavia(
        ...     objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5, adjoint="unrolled"
        ... )
        >>> algorithm.names, network.context.tolist()
        (('context',), [0.0, 0.0, 0.0, 0.0])

    """
    return GradientBased(
        objective=objective,
        part="context",
        update=Update([StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
