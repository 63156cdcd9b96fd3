"""MAML++: MAML with five improvements."""

from metaloop.algorithms.gradient_based import (
    AnnealedMultiStepLoss,
    GradientBased,
    OuterLoss,
    QueryLoss,
)
from metaloop.arguments import Count, CountOrZero, Positive
from metaloop.inner_loop import (
    AdjointName,
    LearnedStepSize,
    Objective,
    Part,
    StepSize,
    Transformation,
    Update,
)


def maml_plus_plus(
    objective: Objective,
    *,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    adjoint: AdjointName,
    part: Part,
    epoch_steps: Count,
    multi_step_epochs: CountOrZero,
    first_order_epochs: CountOrZero,
    learned_step_sizes: bool,
    per_step_norm: bool,
) -> GradientBased:
    """MAML with five improvements, each with its own switch.

    Antoniou, Edwards, Storkey 2019 (arXiv:1810.09502), "How to train your MAML":

    - multi-step loss (eq. 2), annealed over the first epochs to the loss at phi_K;
    - a learned step size per tensor and step (eq. 4, "LSLR"), initially inner_lr;
    - derivative-order annealing: no Hessians in the first epochs;
    - scale and shift of the norms learned for every step ("BNWB"); `norm_mode=per_step` also
      stores their statistics for every step ("BNRS");
    - cosine decay of the meta learning rate: `scheduler=cosine`.

    Evaluation may average the class probabilities of the best validation checkpoints:
    `evaluation.checkpoint=ensemble`.

    Deviations: phi_k uses row k of scale and shift in both its support and its query loss, K+1
    rows in all; the authors use row k for phi_{k+1} on the query set. Step sizes are kept
    per tensor (as theirs), and the head adapts with everything else.

    Args:
        objective: model, loss and metrics.
        inner_lr: alpha, fixed or the initial value of the learned step sizes.
        inner_steps: K in meta-training.
        eval_inner_steps: K in evaluation.
        adjoint: as in `maml`.
        part: which parameters adapt, as in `anil` (head) or `boil` (body).
        epoch_steps: meta-steps per epoch; the authors use 500.
        multi_step_epochs: epochs until only phi_K counts; 0 uses phi_K from the start.
        first_order_epochs: epochs without Hessians.
        learned_step_sizes: whether step sizes are learned.
        per_step_norm: whether scale and shift are learned per step.

    Examples:
        >>> import torch
        >>> from metaloop import Objective, maml_plus_plus
        >>> objective = Objective(model=torch.nn.Linear(1, 1, bias=False), loss=torch.nn.MSELoss())
        >>> algorithm = maml_plus_plus(
        ...     objective, inner_lr=0.1, inner_steps=2, eval_inner_steps=2, adjoint="unrolled",
        ...     part="everything", epoch_steps=500, multi_step_epochs=2, first_order_epochs=1,
        ...     learned_step_sizes=True, per_step_norm=False,
        ... )
        >>> algorithm.own_parameters()
        {'step_size.weight': tensor([0.1000, 0.1000])}
        >>> [(algorithm.at(step).outer_loss, algorithm.at(step).adjoint) for step in (0, 1000)]
        [(MultiStepLoss(weights=(0.5, 0.5)), 'first_order'), (QueryLoss(), 'unrolled')]

    """
    size: Transformation = (
        LearnedStepSize(inner_lr, "tensor_and_step") if learned_step_sizes else StepSize(inner_lr)
    )
    outer_loss: OuterLoss = QueryLoss()
    if multi_step_epochs:
        outer_loss = AnnealedMultiStepLoss(inner_steps, multi_step_epochs, epoch_steps)
    return GradientBased(
        objective=objective,
        part=part,
        update=Update([size]),
        adjoint=adjoint,
        outer_loss=outer_loss,
        first_order_steps=first_order_epochs * epoch_steps,
        per_step_norm=per_step_norm,
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
