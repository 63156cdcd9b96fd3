"""Step sizes that change between inner steps, by a fixed schedule."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from metaloop.arguments import Count, Fraction, Positive
from metaloop.inner_loop.objective import Parameters
from metaloop.inner_loop.transformations import Memory, Moment, Transformation


@dataclass(frozen=True)
class ScheduledStepSize(Transformation):
    """Multiply the direction of step k by inner_lrs[k]; steps beyond the list reuse the last.

    Examples:
        >>> import torch
        >>> from metaloop import ScheduledStepSize, Update
        >>> update = Update([ScheduledStepSize([0.4, 0.1])])
        >>> theta = {"w": torch.tensor([1.0])}
        >>> steps = [update(update.start(theta), theta, theta, {}, step=k) for k in range(3)]
        >>> [state.phi["w"] for state in steps]  # each from theta, its gradient theta
        [tensor([0.6000]), tensor([0.9000]), tensor([0.9000])]

    """

    inner_lrs: Annotated[Sequence[Positive], Field(min_length=1)]

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        alpha = self.inner_lrs[min(moment.step, len(self.inner_lrs) - 1)]
        return {name: alpha * d for name, d in direction.items()}, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_lr": ", ".join(map(str, self.inner_lrs))}


@dataclass(frozen=True)
class StepSizeDecay(Transformation):
    """Multiply the direction by a factor that decays from 1 at step 0 to `end` at step `steps`.

    With t = min(k / steps, 1) at step k, counted from 0, the factor is

        linear   1 - (1 - end) * t
        cosine   end + (1 - end) * (1 + cos(pi * t)) / 2    Loshchilov and Hutter 2017
                                                            (arXiv:1608.03983), eq. 5

    so all steps from `steps` on, possible in evaluation, have the factor `end`. It follows a step
    size of any kind in the chain, and also scales a decoupled weight decay before it.

    Attributes:
        steps: number of inner steps that the decay takes; usually inner_steps.

    Examples:
        >>> import torch
        >>> from metaloop import StepSize, StepSizeDecay, Update
        >>> update = Update([StepSize(0.5), StepSizeDecay("linear", steps=2)])
        >>> theta = {"w": torch.tensor([1.0])}
        >>> steps = [update(update.start(theta), theta, theta, {}, step=k) for k in range(3)]
        >>> [state.phi["w"].item() for state in steps]  # each from theta, its gradient theta
        [0.5, 0.75, 1.0]

    """

    shape: Literal["linear", "cosine"]
    steps: Count
    end: Fraction = 0.0

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        t = min(moment.step / self.steps, 1.0)
        remaining = 1 - t if self.shape == "linear" else (1 + math.cos(math.pi * t)) / 2
        factor = self.end + (1 - self.end) * remaining
        return {name: factor * d for name, d in direction.items()}, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_lr_decay": f"{self.shape} to {self.end} in {self.steps} steps"}
