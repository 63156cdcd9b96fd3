"""Proto-MAML: MAML from a prototypical network's head."""

from metaloop.algorithms.gradient_based import GradientBased
from metaloop.arguments import Count, Positive
from metaloop.inner_loop import AdjointName, Objective, Part, StepSize, Update


def proto_maml(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    adjoint: AdjointName,
    part: Part,
) -> GradientBased:
    """MAML whose head starts at the prototypes of the task's classes.

    Triantafillou et al. 2020 (arXiv:1903.03096), section 3.

    With f the network below its head and c_n the mean of f over class n's support examples, phi_0
    is theta but for its head, a prototypical network's:

        w_n = 2 c_n,    b_n = -|c_n|^2

    from where the inner loop goes on as MAML's. The head of theta is never used: any number of
    classes is as good as any other.

    The meta-gradient flows through the prototypes into theta, with `first_order` too, which drops
    the Hessians of the inner steps alone; the authors' program does both.

    phi_0 has seen the support set: it is what a prototypical network with this theta predicts, and
    the adaptation gain is what the inner steps add to that.

    Args:
        objective: model, loss and metrics.
        inner_lr: alpha.
        inner_steps: K in meta-training.
        eval_inner_steps: K in evaluation.
        adjoint: as in `maml`.
        part: which parameters adapt: everything, as in the paper, or the head.

    Raises:
        UserError: if the model has no linear `head`.

    Examples:
        >>> import torch
        >>> from metaloop import Examples, Objective, proto_maml
        >>> network = torch.nn.Sequential()
        >>> network.add_module("head", torch.nn.Linear(1, 2))
        >>> objective = Objective(model=network, loss=torch.nn.functional.cross_entropy)
        >>> algorithm = proto_maml(
        ...     objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5, adjoint="unrolled",
        ...     part="everything",
        ... )
        >>> support = Examples(torch.tensor([[2.0], [6.0]]), torch.tensor([0, 1]))
        >>> phi_0 = next(algorithm.adapt(objective.meta_parameters(), support, steps=1))
        >>> phi_0["head.weight"].flatten(), phi_0["head.bias"]  # 2 c and -c^2
        (tensor([ 4., 12.]), tensor([ -4., -36.]))

    """
    return GradientBased(
        objective=objective,
        part=part,
        start="prototypes",
        update=Update([StepSize(inner_lr)]),
        adjoint=adjoint,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
