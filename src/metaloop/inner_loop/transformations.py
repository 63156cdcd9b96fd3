"""Gradient transformations; an update is a chain of them.

As in optax, each is a pure function of a direction and its memory of earlier steps, and returns
both anew.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from metaloop.arguments import NonNegative, Positive
from metaloop.inner_loop.objective import Parameters

Memory = Mapping[str, Tensor] | tuple[Mapping[str, Tensor], ...]
NOTHING: Memory = ()


class Moment(NamedTuple):
    """The point in the inner loop at which a step is taken.

    Attributes:
        step: k, counted from 0.
        phi, theta: the parameters that adapt, at this step and before the first.
        own: the chain's learned parameters.
        hessian: multiplies a direction by the support loss's Hessian at phi; None if no link of
            the chain reads it.

    Examples:
        >>> import torch
        >>> from metaloop import Moment, StepSizeDecay
        >>> theta = {"w": torch.tensor([1.0])}
        >>> moment = Moment(step=1, phi=theta, theta=theta, own={})
        >>> decay = StepSizeDecay("linear", steps=4)
        >>> direction, memory = decay({"w": torch.tensor([8.0])}, {}, moment)
        >>> direction["w"]  # three quarters of it
        tensor([6.])

    """

    step: int
    phi: Parameters
    theta: Parameters
    own: Parameters
    hessian: Callable[[Parameters], Parameters] | None = None


class Transformation:
    """The contract; a transformation without memory or learned parameters overrides __call__.

    Directions, phi, theta and memory are dicts of tensors of the same shapes, by parameter.

    Examples:
        >>> import torch
        >>> from metaloop import StepSize, Transformation, Update
        >>> class Sign(Transformation):
        ...     def __call__(self, direction, memory, moment):
        ...         return {name: d.sign() for name, d in direction.items()}, memory
        >>> update = Update([Sign(), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([-7.0, 0.5])}
        >>> update(update.start(theta), gradient, theta, {}, step=0).phi["w"]
        tensor([1.1000, 0.9000])

    """

    # whether it uses moment.hessian
    reads_hessian: ClassVar[bool] = False
    # whether it moves the end of the inner loop away from the minimum of support loss plus pull
    shifts_minimum: ClassVar[bool] = False

    def check(self, names: Collection[str]) -> None:
        """Refuse arguments that contradict each other or do not fit the parameters that adapt."""

    def start(self, phi: Parameters) -> Memory:
        """Return the memory before the first step."""
        return NOTHING

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        """Return the transformed direction and the new memory."""
        raise NotImplementedError

    def own_parameters(self, theta: Parameters, inner_steps: int) -> dict[str, Tensor]:
        """Return the transformation's learned parameters by name, at their initial values."""
        return {}

    def describe(self) -> dict[str, float | int | str]:
        """Describe the transformation for a result's protocol."""
        return {}


@dataclass(frozen=True)
class ClipNorm(Transformation):
    """Scale the direction down to this norm, over all tensors together, where it is longer.

    Examples:
        >>> import torch
        >>> from metaloop import ClipNorm, StepSize, Update
        >>> update = Update([ClipNorm(1.0), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([0.0, 0.0])}, {"w": torch.tensor([3.0, 4.0])}
        >>> update(update.start(theta), gradient, theta, {}, step=0).phi["w"]
        tensor([-0.0600, -0.0800])

    """

    max_norm: Positive

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        # the square of a tiny value is added, since the root has no derivative at zero
        square = torch.stack([d.square().sum() for d in direction.values()]).sum()
        factor = (self.max_norm / (square + 1e-24).sqrt()).clamp(max=1.0)
        return {name: d * factor for name, d in direction.items()}, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"clip_norm": self.max_norm}


@dataclass(frozen=True)
class ClipValue(Transformation):
    """Clip every element of the direction to this absolute value.

    Examples:
        >>> import torch
        >>> from metaloop import ClipValue, StepSize, Update
        >>> update = Update([ClipValue(1.0), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([0.0, 0.0])}, {"w": torch.tensor([0.5, -4.0])}
        >>> update(update.start(theta), gradient, theta, {}, step=0).phi["w"]
        tensor([-0.0500,  0.1000])

    """

    max_value: Positive

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        size = self.max_value
        return {name: d.clamp(-size, size) for name, d in direction.items()}, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"clip_value": self.max_value}


@dataclass(frozen=True)
class TowardsTheta(Transformation):
    """Add strength * (phi - theta), the gradient of strength / 2 * |phi - theta|^2.

    The proximal term of iMAML (Rajeswaran et al. 2019, arXiv:1909.04630, eq. 3).

    Examples:
        >>> import torch
        >>> from metaloop import StepSize, TowardsTheta, Update
        >>> update = Update([TowardsTheta(strength=1.0), StepSize(0.5)])
        >>> state = update.start({"w": torch.tensor([2.0])})
        >>> zero, theta = {"w": torch.tensor([0.0])}, {"w": torch.tensor([0.0])}
        >>> update(state, zero, theta, {}, step=1).phi["w"]  # half of the way back to theta
        tensor([1.])

    """

    strength: NonNegative

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        pulled = {
            name: d + self.strength * (moment.phi[name] - moment.theta[name])
            for name, d in direction.items()
        }
        return pulled, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"proximal_strength": self.strength}


@dataclass(frozen=True)
class WeightDecay(Transformation):
    """Add rate * phi, the gradient of rate / 2 * |phi|^2.

    Its position in the chain decides the kind of decay. First, it is coupled: later links see it,
    as in torch.optim's SGD(weight_decay=rate) and Adam(weight_decay=rate). Just before the step
    size alpha, it is decoupled: phi <- phi - alpha * rate * phi, whatever the direction, as in
    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101, Algorithms 1 and 2).

    Examples:
        >>> import torch
        >>> from metaloop import StepSize, Update, WeightDecay
        >>> update = Update([WeightDecay(0.5), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([2.0])}, {"w": torch.tensor([3.0])}
        >>> update(update.start(theta), gradient, theta, {}, step=0).phi["w"]  # 2 - 0.1 * (3 + 1)
        tensor([1.6000])

    """

    rate: NonNegative
    shifts_minimum = True

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        return {n: d + self.rate * moment.phi[n] for n, d in direction.items()}, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_weight_decay": self.rate}
