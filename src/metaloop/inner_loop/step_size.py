"""Alpha, the inner step size: one number, or learned for every element, tensor and step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from metaloop.inner_loop.objective import Parameters
from metaloop.inner_loop.transformations import Memory, Moment, Transformation

PREFIX = "step_size."
Granularity = Literal["element", "tensor_and_step"]


@dataclass(frozen=True)
class StepSize(Transformation):
    """Multiply the direction by inner_lr: the alpha of Finn et al. 2017, eq. 1."""

    inner_lr: float

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        return {name: self.inner_lr * d for name, d in direction.items()}, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_lr": self.inner_lr}


@dataclass(frozen=True)
class LearnedStepSize(Transformation):
    """Multiply the direction by a meta-learned alpha, which starts at inner_lr.

    `element`: one for every element of every parameter (Meta-SGD, Li et al. 2017,
    arXiv:1707.09835, eq. 3). `tensor_and_step`: one for every tensor and inner step (LSLR,
    Antoniou et al. 2019, arXiv:1810.09502, eq. 4); steps beyond those trained reuse the last.

    Own parameters, by the name of the parameter they move:
        step_size.NAME   its shape, or [inner_steps]
    """

    inner_lr: float
    granularity: Granularity

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        return {name: self._of(name, moment) * d for name, d in direction.items()}, memory

    def own_parameters(self, theta: Parameters, inner_steps: int) -> dict[str, Tensor]:
        return {
            PREFIX + name: torch.full_like(p, self.inner_lr)
            if self.granularity == "element"
            else p.new_full((inner_steps,), self.inner_lr)
            for name, p in theta.items()
        }

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_lr": self.inner_lr, "learned_step_size": self.granularity}

    def _of(self, name: str, moment: Moment) -> Tensor:
        alpha = moment.own[PREFIX + name]
        if self.granularity == "element":
            return alpha
        return alpha[min(moment.step, len(alpha) - 1)]


class LearnedAlpha(NamedTuple):
    """One tensor's learned step sizes: one for each inner step, or for each of its elements."""

    values: Tensor
    is_per_step: bool


def learned_step_sizes(meta: Mapping[str, Tensor]) -> dict[str, LearnedAlpha]:
    """What LearnedStepSize has learned, by the name of the parameter that it moves."""
    alphas = {n.removeprefix(PREFIX): a.detach() for n, a in meta.items() if n.startswith(PREFIX)}
    # one tensor alone may have as many elements as there are steps; all of them cannot
    is_per_step = any(alpha.shape != meta[name].shape for name, alpha in alphas.items())
    return {name: LearnedAlpha(alpha, is_per_step) for name, alpha in alphas.items()}
