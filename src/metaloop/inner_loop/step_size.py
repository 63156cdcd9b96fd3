"""Alpha, the inner step size: one number, or learned for every element, tensor and step."""

from dataclasses import dataclass
from typing import Literal

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
