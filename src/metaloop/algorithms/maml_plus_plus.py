"""MAML++, Antoniou, Edwards, Storkey 2019 (arXiv:1810.09502)."""

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
    """MAML with five remedies, each a switch of its own ("How to train your MAML").

    - multi-step loss (eq. 2), annealed over the first epochs to the loss at phi_K alone;
    - a learned step size for every tensor and step (eq. 4, "LSLR"), which starts at inner_lr;
    - derivative-order annealing: no Hessians in the first epochs;
    - scale and shift of the norms learned for every step ("BNWB"); with `norm_mode=per_step`
      their statistics are stored for every step too ("BNRS");
    - cosine decay of the meta learning rate: `scheduler=cosine`.

    Evaluation may average the probabilities of the best checkpoints in validation:
    `evaluation.checkpoint=ensemble`.

    Deviations: phi_k carries the k-th row of scale and shift in its support and its query loss,
    K+1 rows in all; the authors judge phi_{k+1} on the query set with row k. Step sizes are kept
    for every tensor (theirs: the same) and the head adapts with all others.

    Args:
        objective: model, loss and metrics.
        inner_lr: alpha, fixed or where the learned step sizes start.
        inner_steps: K in meta-training.
        eval_inner_steps: K in evaluation.
        adjoint: as in `maml`.
        part: which parameters adapt, as in `anil` (head) or `boil` (body).
        epoch_steps: meta-steps in an epoch; the authors' 500.
        multi_step_epochs: epochs until only phi_K counts; 0 has it so from the start.
        first_order_epochs: epochs without Hessians.
        learned_step_sizes: whether step sizes are learned.
        per_step_norm: whether scale and shift differ step by step.

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
