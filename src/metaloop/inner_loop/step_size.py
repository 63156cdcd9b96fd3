"""Alpha, the inner step size: a single one, one per group of parameters, or learned."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from metaloop.arguments import Positive
from metaloop.errors import UserError
from metaloop.inner_loop.objective import Parameters
from metaloop.inner_loop.transformations import Memory, Moment, Transformation

PREFIX = "step_size."
Granularity = Literal["element", "tensor_and_step"]


@dataclass(frozen=True)
class StepSize(Transformation):
    """Multiply the direction by inner_lr: the alpha of Finn et al. 2017 (arXiv:1703.03400), eq. 1.

    Examples:
        >>> import torch
        >>> from metaloop import StepSize, Update
        >>> update = Update([StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}
        >>> update(update.start(theta), gradient, theta, {}, step=0).phi["w"]
        tensor([0.8000])

    """

    inner_lr: Positive

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        return {name: self.inner_lr * d for name, d in direction.items()}, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_lr": self.inner_lr}


@dataclass(frozen=True)
class GroupedStepSize(Transformation):
    """Multiply the direction by one alpha for each group of parameters.

    A group is a regular expression; a parameter belongs to the first that matches its name, as
    with part=match:REGEX. {bias$: 0.01, .*: 0.1} is 0.01 for every bias and 0.1 for all others.
    It corresponds to torch.optim's parameter groups.

    Attributes:
        inner_lrs: alpha by regular expression, in order.

    Examples:
        >>> import torch
        >>> from metaloop import GroupedStepSize, Update
        >>> update = Update([GroupedStepSize({"bias$": 0.01, ".*": 0.1})])
        >>> theta = {"weight": torch.tensor([1.0]), "bias": torch.tensor([1.0])}
        >>> update(update.start(theta), theta, theta, {}, step=0).phi  # the gradient is theta
        {'weight': tensor([0.9000]), 'bias': tensor([0.9900])}

    """

    inner_lrs: Annotated[Mapping[str, Positive], Field(min_length=1)]

    def check(self, names: Collection[str]) -> None:
        groups = {name: self._group_of(name) for name in names}
        missed = [name for name, group in groups.items() if group is None]
        if missed:
            raise UserError(
                "Every parameter that adapts needs a step size, but no pattern of inner_lrs "
                f"({', '.join(self.inner_lrs)}) matches {', '.join(missed)}. Add one that does, "
                'or a last one for the rest: ".*": 0.1'
            )
        idle = [group for group in self.inner_lrs if group not in groups.values()]
        if idle:
            raise UserError(
                f"inner_lrs has the pattern {idle[0]!r}, which sets no step size: no earlier "
                f"pattern leaves it a match among the parameters that adapt ({', '.join(names)}). "
                "Correct it, move it up, or leave it out."
            )

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        scaled = {}
        for name, d in direction.items():
            group = self._group_of(name)
            assert group is not None
            scaled[name] = self.inner_lrs[group] * d
        return scaled, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_lr": ", ".join(f"{group}: {lr}" for group, lr in self.inner_lrs.items())}

    def _group_of(self, name: str) -> str | None:
        return next((group for group in self.inner_lrs if _finds(group, name)), None)


@dataclass(frozen=True)
class LearnedStepSize(Transformation):
    """Multiply the direction by a meta-learned alpha, initially inner_lr.

    `element`: one for each element of each parameter (Meta-SGD, Li et al. 2017,
    arXiv:1707.09835, eq. 3). `tensor_and_step`: one for each tensor and inner step (LSLR,
    Antoniou et al. 2019, arXiv:1810.09502, eq. 4); steps beyond the trained ones use the last.

    Learned parameters, by the name of the parameter whose step they scale:
        step_size.NAME   its shape, or [inner_steps]

    Examples:
        >>> import torch
        >>> from metaloop import LearnedStepSize, Update
        >>> update = Update([LearnedStepSize(0.1, granularity="tensor_and_step")])
        >>> theta = {"w": torch.tensor([1.0, 2.0])}
        >>> own = update.own_parameters(theta, inner_steps=3)
        >>> own
        {'step_size.w': tensor([0.1000, 0.1000, 0.1000])}
        >>> update(update.start(theta), theta, theta, own, step=0).phi["w"]  # the gradient is theta
        tensor([0.9000, 1.8000])

    """

    inner_lr: Positive = field(compare=False)  # only the initial value
    granularity: Granularity

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        return {name: self._alpha(name, moment) * d for name, d in direction.items()}, memory

    def own_parameters(self, theta: Parameters, inner_steps: int) -> dict[str, Tensor]:
        return {
            PREFIX + name: torch.full_like(p, self.inner_lr)
            if self.granularity == "element"
            else p.new_full((inner_steps,), self.inner_lr)
            for name, p in theta.items()
        }

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_lr": self.inner_lr, "learned_step_size": self.granularity}

    def _alpha(self, name: str, moment: Moment) -> Tensor:
        alpha = moment.own[PREFIX + name]
        if self.granularity == "element":
            return alpha
        return alpha[min(moment.step, len(alpha) - 1)]


class LearnedAlpha(NamedTuple):
    """Learned step sizes of one tensor: one per inner step, or one per element."""

    values: Tensor
    is_per_step: bool


def learned_step_sizes(meta: Mapping[str, Tensor]) -> dict[str, LearnedAlpha]:
    """Collect the step sizes that LearnedStepSize has learned, by parameter name."""
    alphas = {n.removeprefix(PREFIX): a.detach() for n, a in meta.items() if n.startswith(PREFIX)}
    # a single tensor may have as many elements as there are steps, but not all tensors
    is_per_step = any(alpha.shape != meta[name].shape for name, alpha in alphas.items())
    return {name: LearnedAlpha(alpha, is_per_step) for name, alpha in alphas.items()}


def _finds(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error as error:
        raise UserError(
            f"inner_lrs has {pattern!r}, which is not a regular expression: {error}. Correct it; "
            "write a backslash before a literal dot, star or bracket."
        ) from error
