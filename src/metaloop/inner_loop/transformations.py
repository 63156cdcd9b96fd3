"""What may happen to a gradient on its way to a step; a chain of these is an update.

In the spirit of optax: each is a pure function that takes a direction and what it remembers of
the steps before, and returns both anew.
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
    """The place in the inner loop at which a step is taken.

    step counts from 0; phi, theta hold the parameters that adapt; own holds what the chain itself
    has meta-learned; hessian multiplies a direction by the support loss's Hessian at phi.
    """

    step: int
    phi: Parameters
    theta: Parameters
    own: Parameters
    hessian: Callable[[Parameters], Parameters] | None = None


class Transformation:
    """The contract; a transformation that remembers or learns nothing overrides __call__ alone."""

    # Whether it asks for moment.hessian.
    reads_hessian: ClassVar[bool] = False
    # Whether phi comes to rest away from the minimum of support loss and pull towards theta.
    shifts_minimum: ClassVar[bool] = False

    def check(self, names: Collection[str]) -> None:
        """Refuse arguments that contradict each other, or do not fit the parameters that adapt."""

    def start(self, phi: Parameters) -> Memory:
        """What is remembered before the first step."""
        return NOTHING

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        """Return the direction changed, and what to remember."""
        raise NotImplementedError

    def own_parameters(self, theta: Parameters, inner_steps: int) -> dict[str, Tensor]:
        """What the transformation meta-learns, by name, at its initial values."""
        return {}

    def describe(self) -> dict[str, float | int | str]:
        """What a result's protocol has to name."""
        return {}


@dataclass(frozen=True)
class ClipNorm(Transformation):
    """Shrink the direction to this norm, over all its tensors together, where it is longer."""

    max_norm: Positive

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        # the square of a tiny number first: a square root has no derivative at zero
        square = torch.stack([d.square().sum() for d in direction.values()]).sum()
        factor = (self.max_norm / (square + 1e-24).sqrt()).clamp(max=1.0)
        return {name: d * factor for name, d in direction.items()}, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"clip_norm": self.max_norm}


@dataclass(frozen=True)
class ClipValue(Transformation):
    """Cut every element of the direction to this size."""

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

    Its place in the chain says which decay it is. First, it is coupled: what follows sees it, as
    in torch.optim's SGD(weight_decay=rate) and Adam(weight_decay=rate). Right before the step
    size alpha, it is decoupled: phi <- phi - alpha * rate * phi, whatever the direction, as in
    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101, Algorithms 1 and 2).
    """

    rate: NonNegative
    shifts_minimum = True

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        return {n: d + self.rate * moment.phi[n] for n, d in direction.items()}, memory

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_weight_decay": self.rate}
