"""Proto-MAML, Triantafillou et al. 2020 (arXiv:1903.03096)."""

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
