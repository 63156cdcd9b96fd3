"""What may happen to a gradient on its way to a step; a chain of these is an update.

In the spirit of optax: each is a pure function that takes a direction and what it remembers of
the steps before, and returns both anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

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

    max_norm: float

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        # the square of a tiny number first: a square root has no derivative at zero
        square = torch.stack([d.square().sum() for d in direction.values()]).sum()
        factor = (self.max_norm / (square + 1e-24).sqrt()).clamp(max=1.0)
        return {name: d * factor for name, d in direction.items()}, memory


@dataclass(frozen=True)
class ClipValue(Transformation):
    """Cut every element of the direction to this size."""

    max_value: float

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        size = self.max_value
        return {name: d.clamp(-size, size) for name, d in direction.items()}, memory


@dataclass(frozen=True)
class TowardsTheta(Transformation):
    """Add strength * (phi - theta), the gradient of strength / 2 * |phi - theta|^2.

    The proximal term of iMAML (Rajeswaran et al. 2019, arXiv:1909.04630, eq. 3).
    """

    strength: float

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
class Momentum(Transformation):
    """Remember v <- decay * v + direction and go along v (Polyak 1964)."""

    decay: float

    def start(self, phi: Parameters) -> Memory:
        return {name: torch.zeros_like(p) for name, p in phi.items()}

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        assert isinstance(memory, Mapping)
        velocity = {name: self.decay * memory[name] + d for name, d in direction.items()}
        return velocity, velocity

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_momentum": self.decay}


@dataclass(frozen=True)
class Adam(Transformation):
    """Adam's direction m / (sqrt(v) + eps), bias-corrected (Kingma and Ba 2015, Algorithm 1).

    Its state starts anew for every task. sqrt(v + tiny) in place of sqrt(v), which has no
    derivative at zero.
    """

    beta1: float
    beta2: float
    eps: float = 1e-8

    def start(self, phi: Parameters) -> Memory:
        zeros = {name: torch.zeros_like(p) for name, p in phi.items()}
        return (zeros, dict(zeros))

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        assert isinstance(memory, tuple)
        count = moment.step + 1
        first, second = {}, {}
        for name, d in direction.items():
            first[name] = self.beta1 * memory[0][name] + (1 - self.beta1) * d
            second[name] = self.beta2 * memory[1][name] + (1 - self.beta2) * d.square()
        scaled = {
            name: (m / (1 - self.beta1**count))
            / ((second[name] / (1 - self.beta2**count) + 1e-24).sqrt() + self.eps)
            for name, m in first.items()
        }
        return scaled, (first, second)

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_optimizer": f"adam(beta1={self.beta1}, beta2={self.beta2})"}
