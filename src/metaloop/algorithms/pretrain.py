"""Pretraining on all tasks together."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metaloop.algorithms.gradient_based import GradientBased, StartName
from metaloop.algorithms.linear_head import BIAS, WEIGHT, linear_head
from metaloop.arguments import Count, CountOrZero, Positive
from metaloop.episode import Episode, Inputs, concatenate_rows
from metaloop.errors import UserError
from metaloop.inner_loop import (
    Objective,
    Parameters,
    Part,
    Report,
    StepSize,
    Update,
    own_statistics,
    tracking_loss,
)

ALL_CLASSES = {WEIGHT: "all_classes.weight", BIAS: "all_classes.bias"}


@dataclass(frozen=True, kw_only=True)
class Pretrain(GradientBased):
    """Ordinary training without an inner loop; evaluation fine-tunes by gradient descent.

    The baseline of Finn et al. 2017 (arXiv:1703.03400). Regression (section 5.1): one network
    descends the mean loss over the examples of all tasks. Classification: a head over all classes
    learns the global class ids. Evaluation replaces it by the model's initial head and fine-tunes.

    Running averages of the norms' statistics are stored (`statistics.*`); another run reads them
    with `init_from` and `norm_mode=frozen`.

    Attributes:
        classes: number of global class ids over all splits; 0 in regression.

    Examples:
        >>> import torch
        >>> from metaloop import MLP, Objective, Pretrain, pretrain
        >>> objective = Objective(model=MLP(2, 5, hidden=[8]), loss=torch.nn.CrossEntropyLoss())
        >>> algorithm = pretrain(
        ...     objective, classes=64, inner_lr=0.1, inner_steps=5, eval_inner_steps=10, part="head"
        ... )
        >>> isinstance(algorithm, Pretrain), sorted(algorithm.untrained)
        (True, ['head.bias', 'head.weight'])

    """

    classes: CountOrZero
    collects_statistics = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective.mode.tracks_path or self.per_step_norm:
            raise UserError(
                "Pretraining takes no inner steps, so nothing can be learned or stored per step. "
                "Choose another norm_mode, and per_step_norm=false."
            )

    @property
    def untrained(self) -> frozenset[str]:
        return frozenset({WEIGHT, BIAS} if self.classes else ())

    def own_parameters(self) -> dict[str, Tensor]:
        own = own_statistics(self.objective, 1)
        if self.classes:
            head = linear_head(self.objective, "pretrain")
            fresh = nn.Linear(head.in_features, self.classes, dtype=head.weight.dtype)
            own |= {ALL_CLASSES[WEIGHT]: fresh.weight.detach()}
            own |= {ALL_CLASSES[BIAS]: torch.zeros_like(fresh.bias.detach())}
        return own

    def meta_loss(self, meta: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        theta, own = self.divide(meta)
        inputs = concatenate_rows(episode.support.inputs, episode.query.inputs)
        targets = torch.cat([episode.support.targets, episode.query.targets])
        if targets.is_floating_point():
            loss = self.objective.loss(self.objective.predict(theta, inputs), targets)
        else:
            loss = self._classify(theta, own, inputs, episode.classes[targets])
        if self.objective.norms:
            loss = loss + tracking_loss(self.objective, own, theta, 0, inputs)
        return loss, self._report(meta, episode)

    def describe(self) -> dict[str, float | int | str]:
        return {**super().describe(), "outer_loss": "pretraining", "adjoint": "none"}

    def _classify(self, theta: Parameters, own: Parameters, inputs: Inputs, ids: Tensor) -> Tensor:
        if not self.classes:
            raise UserError(
                "Pretraining on classes needs the number of global class ids: the task must have "
                "an attribute `classes`."
            )
        head = {name: own[ours] for name, ours in ALL_CLASSES.items()}
        return self.objective.loss(self.objective.predict({**theta, **head}, inputs), ids)

    def _report(self, meta: Parameters, episode: Episode) -> Report:
        """Compute the query set's report after fine-tuning."""
        constant: Mapping[str, Tensor] = {name: p.detach() for name, p in meta.items()}
        *_, tuned = self.adapt(constant, episode.support, self.inner_steps)
        return self.objective.judge_query(tuned, episode)[1]


def pretrain(
    objective: Objective,
    *,
    classes: CountOrZero,
    inner_lr: Positive,
    inner_steps: Count,
    eval_inner_steps: Count,
    part: Part,
    start: StartName = "theta",
) -> Pretrain:
    """Train on all tasks as if they were one, fine-tune on a new one.

    Finn, Abbeel, Levine 2017 (arXiv:1703.03400), section 5.1, "pretrained":

        theta <- theta - beta * grad mean_tasks L(theta; support and query)
        phi_{k+1} = phi_k - alpha * grad L(phi_k; support), in evaluation

    `training.max_steps=0` trains nothing, which gives the baseline `random`.

    Args:
        objective: model, loss and metrics.
        classes: global class ids over all splits, 0 in regression; the task knows it.
        inner_lr: alpha of the fine-tuning.
        inner_steps: K of the fine-tuning behind the training reports.
        eval_inner_steps: K in evaluation.
        part: parameters that are fine-tuned: everything, or the head.
        start: where that starts: theta, or the head at the class means.

    Examples:
        >>> import torch
        >>> from metaloop import MLP, Objective, pretrain
        >>> objective = Objective(model=MLP(2, 5, hidden=[8]), loss=torch.nn.CrossEntropyLoss())
        >>> algorithm = pretrain(
        ...     objective, classes=64, inner_lr=0.1, inner_steps=5, eval_inner_steps=9,
        ...     part="everything",
        ... )
        >>> {name: tuple(p.shape) for name, p in algorithm.own_parameters().items()}
        {'all_classes.weight': (64, 8), 'all_classes.bias': (64,)}

    """
    return Pretrain(
        objective=objective,
        classes=classes,
        part=part,
        start=start,
        update=Update([StepSize(inner_lr)]),
        adjoint="first_order",
        inner_steps=inner_steps,
        eval_inner_steps=eval_inner_steps,
    )
