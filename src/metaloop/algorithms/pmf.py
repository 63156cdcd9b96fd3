"""P>M>F: pretrain, meta-train, fine-tune."""

from metaloop.algorithms.gradient_based import GradientBased
from metaloop.arguments import Count, Positive
from metaloop.inner_loop import Objective, Part, StepSize, Update


def pmf(
    objective: Objective, *, inner_lr: Positive, eval_inner_steps: Count, part: Part
) -> GradientBased:
    """The simple pipeline to beat: pretrain, meta-train prototypes, fine-tune on the task at hand.

    Hu et al. 2022 (arXiv:2204.07305):

    - P: start from a pretrained network, `init_from` a run of `pretrain` or a file of weights;
    - M: meta-train as a prototypical network, with no inner step (`training.max_steps=0` leaves
      the pretrained network as it is: a frozen backbone);
    - F: at test the head starts at the prototypes, and gradient steps on the support set follow.
      Step 0 of an evaluation is the learner without them.

    Deviations: the paper fine-tunes on augmented copies of the support set, computes the
    prototypes anew in every step, and chooses the step size for each domain; here the steps are
    plain descent of the support loss from the prototypes.

    Args:
        objective: model, loss and metrics.
        inner_lr: alpha of the fine-tuning.
        eval_inner_steps: K of the fine-tuning.
        part: which parameters are fine-tuned: everything, or the head.

    Raises:
        UserError: if the model has no linear `head`.

    Examples:
        >>> import torch
        >>> from metaloop import MLP, Objective, pmf
        >>> objective = Objective(model=MLP(2, 5, hidden=[8]), loss=torch.nn.CrossEntropyLoss())
        >>> algorithm = pmf(objective, inner_lr=0.01, eval_inner_steps=20, part="everything")
        >>> algorithm.start, algorithm.inner_steps, algorithm.eval_inner_steps
        ('prototypes', 0, 20)

    """
    return GradientBased(
        objective=objective,
        part=part,
        start="prototypes",
        update=Update([StepSize(inner_lr)]),
        adjoint="first_order",
        inner_steps=0,
        eval_inner_steps=eval_inner_steps,
    )
