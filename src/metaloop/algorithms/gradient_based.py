"""Every algorithm that adapts by gradient steps: part x update x adjoint x outer loss."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from metaloop.algorithms.algorithm import Algorithm
from metaloop.algorithms.outer_loss import OuterLoss, QueryLoss
from metaloop.arguments import Count, CountOrZero
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import (
    ADJOINTS,
    AdjointName,
    Objective,
    Parameters,
    Part,
    Report,
    Update,
    adapt,
    adapting,
)


@dataclass(frozen=True, kw_only=True)
class GradientBased(Algorithm):
    """Four orthogonal pieces; every recipe in this package is a choice of them.

    Attributes:
        part: which parameters adapt: everything, head, body, or match:REGEX.
        update: one inner step, a chain of gradient transformations.
        adjoint: how the meta-gradient flows back through the steps.
        outer_loss: which losses along the path count.
        inner_steps: K in meta-training.
        eval_inner_steps: K in evaluation.
        batch_size: support examples a step; None takes them all.

    """

    objective: Objective
    update: Update
    inner_steps: Count
    eval_inner_steps: CountOrZero
    part: Part = "everything"
    adjoint: AdjointName = "unrolled"
    outer_loss: OuterLoss = field(default_factory=QueryLoss)
    batch_size: Count | None = None

    def __post_init__(self) -> None:
        _ = self.names  # refuses a part that the model has not
        self.outer_loss.check(self.inner_steps)
        if not self.outer_loss.differentiates_path and self.adjoint != "first_order":
            raise UserError(
                f"{type(self.outer_loss).__name__} does not differentiate through the inner loop: "
                f"adjoint={self.adjoint} would change nothing. Use adjoint=first_order."
            )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters that adapt."""
        return adapting(self.part, list(self.objective.meta_parameters()))

    def own_parameters(self) -> dict[str, Tensor]:
        theta = self.objective.meta_parameters()
        parts = {name: theta[name].detach() for name in self.names}
        return self.update.own_parameters(parts, self.inner_steps)

    def adapt(self, meta: Parameters, support: Examples, steps: int) -> Iterator[Parameters]:
        learned = self.objective.meta_parameters()
        return adapt(
            self.objective,
            {name: p for name, p in meta.items() if name in learned},
            support,
            names=self.names,
            update=self.update,
            adjoint=ADJOINTS[self.adjoint],
            steps=steps,
            own={name: p for name, p in meta.items() if name not in learned},
            batch_size=self.batch_size,
        )

    def meta_loss(self, meta: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        theta = {name: meta[name] for name in self.objective.meta_parameters()}
        path = self.adapt(meta, episode.support, self.inner_steps)
        return self.outer_loss(self.objective, theta, path, episode)

    def describe(self) -> dict[str, float | int | str]:
        return {
            **super().describe(),
            **self.update.describe(),
            "part": self.part,
            "adjoint": self.adjoint,
            "outer_loss": type(self.outer_loss).__name__,
        }
