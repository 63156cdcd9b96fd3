"""The directions of torch.optim's optimizers; after each, the chain scales by a step size.

Every step equals torch.optim's to rounding. Their state starts anew for every task.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metaloop.arguments import Fraction, NonNegative, Positive
from metaloop.errors import UserError
from metaloop.inner_loop.objective import Parameters
from metaloop.inner_loop.transformations import Memory, Moment, Transformation


@dataclass(frozen=True)
class Momentum(Transformation):
    """Remember v <- decay * v + (1 - dampening) * direction and go along v (Polyak 1964).

    At the first step v = direction, undampened, as in torch.optim.SGD. With nesterov, go along
    direction + decay * v (Sutskever et al. 2013). After RMSprop it is RMSprop's momentum.
    """

    decay: NonNegative
    dampening: NonNegative = 0.0
    nesterov: bool = False

    def check(self, names: Collection[str]) -> None:
        if self.nesterov and (self.decay == 0 or self.dampening != 0):
            raise UserError(
                "Nesterov's momentum needs decay > 0 and no dampening, but "
                f"decay={self.decay} and dampening={self.dampening}. Set them so, or "
                "nesterov=false."
            )

    def start(self, phi: Parameters) -> Memory:
        return _zeros(phi)

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        assert isinstance(memory, Mapping)
        new = direction
        if self.dampening and moment.step > 0:
            new = {name: (1 - self.dampening) * d for name, d in direction.items()}
        velocity = {name: self.decay * memory[name] + d for name, d in new.items()}
        if not self.nesterov:
            return velocity, velocity
        return {name: d + self.decay * velocity[name] for name, d in direction.items()}, velocity

    def describe(self) -> dict[str, float | int | str]:
        described: dict[str, float | int | str] = {"inner_momentum": self.decay}
        if self.dampening:
            described["inner_dampening"] = self.dampening
        if self.nesterov:
            described["inner_nesterov"] = True
        return described


@dataclass(frozen=True)
class Adam(Transformation):
    """Go along m / (sqrt(v) + eps), bias-corrected (Kingma and Ba 2015, Algorithm 1).

    m <- beta1 * m + (1 - beta1) * direction and v <- beta2 * v + (1 - beta2) * direction^2; at
    step k, counted from 1, m / (1 - beta1^k) and v / (1 - beta2^k) are used.
    """

    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Positive = 1e-8

    def start(self, phi: Parameters) -> Memory:
        return (_zeros(phi), _zeros(phi))

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
            / (_root(second[name] / (1 - self.beta2**count)) + self.eps)
            for name, m in first.items()
        }
        return scaled, (first, second)

    def describe(self) -> dict[str, float | int | str]:
        numbers = f"beta1={self.beta1}, beta2={self.beta2}, eps={self.eps}"
        return {"inner_optimizer": f"adam({numbers})"}


@dataclass(frozen=True)
class AdamW(Adam):
    """Go along Adam's direction + weight_decay * phi: decoupled decay.

    Adam, then WeightDecay. Loshchilov and Hutter 2019 (arXiv:1711.05101), Algorithm 2, where the
    step size multiplies the decay too, as in torch.optim.AdamW.
    """

    weight_decay: NonNegative = 0.01
    shifts_minimum = True

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        scaled, memory = super().__call__(direction, memory, moment)
        return {n: d + self.weight_decay * moment.phi[n] for n, d in scaled.items()}, memory

    def describe(self) -> dict[str, float | int | str]:
        return {**super().describe(), "inner_weight_decay": self.weight_decay}


@dataclass(frozen=True)
class RMSprop(Transformation):
    """Go along direction / (sqrt(v) + eps), v <- alpha * v + (1 - alpha) * direction^2.

    Tieleman and Hinton 2012, lecture 6.5. centered divides by the root of v - m^2, a running
    variance, m <- alpha * m + (1 - alpha) * direction (Graves 2013, arXiv:1308.0850, eq. 38-45).
    With momentum: Momentum(decay) is the next link.
    """

    alpha: Fraction = 0.99
    eps: Positive = 1e-8
    centered: bool = False

    def start(self, phi: Parameters) -> Memory:
        return (_zeros(phi), _zeros(phi)) if self.centered else (_zeros(phi),)

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        assert isinstance(memory, tuple)
        squares = self._averaged(memory[0], {n: d.square() for n, d in direction.items()})
        remembered, variances = [squares], squares
        if self.centered:
            means = self._averaged(memory[1], direction)
            remembered.append(means)
            variances = {name: v - means[name].square() for name, v in squares.items()}
        scaled = {name: d / (_root(variances[name]) + self.eps) for name, d in direction.items()}
        return scaled, tuple(remembered)

    def describe(self) -> dict[str, float | int | str]:
        numbers = f"alpha={self.alpha}, eps={self.eps}, centered={self.centered}"
        return {"inner_optimizer": f"rmsprop({numbers})"}

    def _averaged(self, average: Parameters, new: Parameters) -> Parameters:
        return {n: self.alpha * average[n] + (1 - self.alpha) * value for n, value in new.items()}


@dataclass(frozen=True)
class Adagrad(Transformation):
    """Go along direction / (sqrt(v) + eps), v the sum of all squared directions so far.

    Duchi et al. 2011, section 1.2, its diagonal form. At step k, counted from 0, the direction is
    divided by 1 + k * lr_decay too, as in torch.optim.Adagrad.

    Attributes:
        initial_accumulator: v before the first step.

    """

    lr_decay: NonNegative = 0.0
    initial_accumulator: NonNegative = 0.0
    eps: Positive = 1e-10

    def start(self, phi: Parameters) -> Memory:
        return {name: torch.full_like(p, self.initial_accumulator) for name, p in phi.items()}

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        assert isinstance(memory, Mapping)
        sums = {name: memory[name] + d.square() for name, d in direction.items()}
        shrink = 1 + moment.step * self.lr_decay
        scaled = {
            name: d / (shrink * (_root(sums[name]) + self.eps)) for name, d in direction.items()
        }
        return scaled, sums

    def describe(self) -> dict[str, float | int | str]:
        numbers = f"lr_decay={self.lr_decay}, initial_accumulator={self.initial_accumulator}"
        return {"inner_optimizer": f"adagrad({numbers}, eps={self.eps})"}


def _zeros(phi: Parameters) -> dict[str, Tensor]:
    return {name: torch.zeros_like(p) for name, p in phi.items()}


def _root(square: Tensor) -> Tensor:
    """The square root, its derivative zero where the square is zero.

    Rounding may leave the difference of two squares below zero: that counts as zero. There the
    root is that of the smallest normal number, nothing beside any eps.
    """
    return square.clamp(min=torch.finfo(square.dtype).tiny).sqrt()
