"""Every algorithm that adapts by gradient steps and is judged on the query set."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import (
    ADJOINTS,
    AdjointName,
    GradientDescent,
    Objective,
    Parameters,
    Report,
    adapt,
)


@dataclass(frozen=True, kw_only=True)
class GradientBased(Algorithm):
    """An update, applied inner_steps times, and an adjoint that differentiates through it.

    meta_loss(theta) = L(phi_K(theta); query).

    Attributes:
        update: one inner step.
        adjoint: how the meta-gradient flows back through the steps.

    """

    objective: Objective
    update: GradientDescent
    adjoint: AdjointName
    inner_steps: int
    eval_inner_steps: int

    def adapt(self, meta: Parameters, support: Examples, steps: int) -> Iterator[Parameters]:
        return adapt(
            self.objective,
            meta,
            support,
            update=self.update,
            adjoint=ADJOINTS[self.adjoint],
            steps=steps,
        )

    def meta_loss(self, meta: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        for phi in self.adapt(meta, episode.support, self.inner_steps):
            adapted = phi
        return self.objective.judge_query(adapted, episode)

    def describe(self) -> dict[str, float | int | str]:
        return {**super().describe(), "inner_lr": self.update.inner_lr, "adjoint": self.adjoint}
