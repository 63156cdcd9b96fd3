"""FOMAML: first-order MAML."""

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

    Finn, Abbeel, Levine 2017 (arXiv:1703.03400), section 5.2.

    Replacing d phi_{k+1} / d phi_k by I makes the meta-gradient the query gradient at the adapted
    parameters. It needs no second derivative. It loses little on miniImageNet and several points
    on 20-way Omniglot.

    Args: as in `maml`.

    Examples:
        >>> import torch
        >>> from metaloop import Episode, Examples, Objective, fomaml
        >>> objective = Objective(model=torch.nn.Linear(1, 1, bias=False), loss=torch.nn.MSELoss())
        >>> algorithm = fomaml(objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5)
        >>> one = Examples(torch.ones(1, 1), torch.zeros(1, 1))  # L(w) = w^2, phi_1 = 0.8 theta
        >>> theta, episode = {"weight": torch.ones(1, 1)}, Episode(one, one, torch.empty(0))
        >>> torch.func.grad(algorithm.meta_loss, has_aux=True)(theta, episode)[0]  # 2 phi_1
        {'weight': tensor([[1.6000]])}

    """
    return maml(
        objective,
        inner_lr=inner_lr,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
        adjoint="first_order",
    )
