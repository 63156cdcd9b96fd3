"""First-order MAML, Finn, Abbeel, Levine 2017 (arXiv:1703.03400), section 5.2."""

from metaloop.algorithms.gradient_based import GradientBased
from metaloop.algorithms.maml import maml
from metaloop.arguments import Count, Positive
from metaloop.inner_loop import Objective


def fomaml(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
) -> GradientBased:
    """MAML without Hessians: theta moves along grad L(phi_K; query), evaluated at phi_K.

    Replacing d phi_{k+1} / d phi_k by I makes the meta-gradient the query gradient at the adapted
    parameters. It needs no second derivative. It loses little on miniImageNet and several points
    on 20-way Omniglot.

    Args: as in `maml`.
    """
    return maml(
        objective,
        inner_lr=inner_lr,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
        adjoint="first_order",
    )
