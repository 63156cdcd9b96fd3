"""The directions of torch.optim's optimizers; a step size follows them in the chain.

Every step equals torch.optim's up to rounding. The state is reset for every task.
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
    """Update v <- decay * v + (1 - dampening) * direction and step along v (Polyak 1964).

    In the first step v = direction, undampened, as in torch.optim.SGD. With nesterov, step along
    direction + decay * v (Sutskever et al. 2013). After RMSprop it acts as RMSprop's momentum.

    Examples:
        >>> import torch
        >>> from metaloop import Momentum, StepSize, Update
        >>> update = Update([Momentum(0.5), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([0.0])}, {"w": torch.tensor([1.0])}
        >>> first = update(update.start(theta), gradient, theta, {}, step=0)
        >>> second = update(first, gradient, theta, {}, step=1)
        >>> first.phi["w"], second.phi["w"]  # steps of 0.1 and 0.1 * (0.5 * 1 + 1)
        (tensor([-0.1000]), tensor([-0.2500]))

    """

    decay: NonNegative
    dampening: NonNegative = 0.0
    nesterov: bool = False

    def check(self, names: Collection[str]) -> None:
        if self.nesterov and (self.decay == 0 or self.dampening != 0):
            raise UserError(
                "Nesterov momentum needs decay > 0 and dampening = 0, but "
                f"decay={self.decay} and dampening={self.dampening}. Change them, or set "
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
    """Step along m / (sqrt(v) + eps), bias-corrected.

    Kingma and Ba 2015 (arXiv:1412.6980), Algorithm 1.

    m <- beta1 * m + (1 - beta1) * direction and v <- beta2 * v + (1 - beta2) * direction^2; at
    step k, counted from 1, m / (1 - beta1^k) and v / (1 - beta2^k) are used.

    Examples:
        >>> import torch
        >>> from metaloop import Adam, StepSize, Update
        >>> update = Update([Adam(), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([0.5, -50.0])}
        >>> state = update(update.start(theta), gradient, theta, {}, step=0)
        >>> state.phi["w"]  # the first step is the gradient's sign
        tensor([0.9000, 1.1000])

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
        settings = f"beta1={self.beta1}, beta2={self.beta2}, eps={self.eps}"
        return {"inner_optimizer": f"adam({settings})"}


@dataclass(frozen=True)
class AdamW(Adam):
    """Step along Adam's direction + weight_decay * phi: decoupled decay.

    Loshchilov and Hutter 2019 (arXiv:1711.05101), Algorithm 2. The step size also multiplies the
    decay, as in torch.optim.AdamW.

    Examples:
        >>> import torch
        >>> from metaloop import AdamW, StepSize, Update
        >>> update = Update([AdamW(weight_decay=0.5), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}
        >>> state = update(update.start(theta), gradient, theta, {}, step=0)
        >>> state.phi["w"]  # 1 - 0.1 * (1 + 0.5 * 1)
        tensor([0.8500])

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
    """Step along direction / (sqrt(v) + eps), v <- alpha * v + (1 - alpha) * direction^2.

    Tieleman and Hinton 2012, lecture 6.5. With centered=True, v - m^2 replaces v: a running
    variance, m <- alpha * m + (1 - alpha) * direction (Graves 2013, arXiv:1308.0850, eq. 38-45).
    For RMSprop's momentum add Momentum(decay) after it.

    Examples:
        >>> import torch
        >>> from metaloop import RMSprop, StepSize, Update
        >>> update = Update([RMSprop(alpha=0.75), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])}
        >>> state = update(update.start(theta), gradient, theta, {}, step=0)
        >>> state.phi["w"]  # v = (1 - 0.75) * 4^2, and 1 - 0.1 * 4 / sqrt(v)
        tensor([0.8000])

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
        squares = self._average(memory[0], {n: d.square() for n, d in direction.items()})
        remembered, variances = [squares], squares
        if self.centered:
            means = self._average(memory[1], direction)
            remembered.append(means)
            variances = {name: v - means[name].square() for name, v in squares.items()}
        scaled = {name: d / (_root(variances[name]) + self.eps) for name, d in direction.items()}
        return scaled, tuple(remembered)

    def describe(self) -> dict[str, float | int | str]:
        settings = f"alpha={self.alpha}, eps={self.eps}, centered={self.centered}"
        return {"inner_optimizer": f"rmsprop({settings})"}

    def _average(self, average: Parameters, new: Parameters) -> Parameters:
        return {n: self.alpha * average[n] + (1 - self.alpha) * value for n, value in new.items()}


@dataclass(frozen=True)
class Adagrad(Transformation):
    """Step along direction / (sqrt(v) + eps), v the sum of all squared directions so far.

    Duchi et al. 2011, section 1.2, the diagonal form. At step k, counted from 0, the direction is
    also divided by 1 + k * lr_decay, as in torch.optim.Adagrad.

    Attributes:
        initial_accumulator: v before the first step.

    Examples:
        >>> import torch
        >>> from metaloop import Adagrad, StepSize, Update
        >>> update = Update([Adagrad(), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([0.5, 50.0])}
        >>> state = update(update.start(theta), gradient, theta, {}, step=0)
        >>> state.phi["w"]  # the first step is the gradient's sign
        tensor([0.9000, 0.9000])

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
        settings = f"lr_decay={self.lr_decay}, initial_accumulator={self.initial_accumulator}"
        return {"inner_optimizer": f"adagrad({settings}, eps={self.eps})"}


def _zeros(phi: Parameters) -> dict[str, Tensor]:
    return {name: torch.zeros_like(p) for name, p in phi.items()}


def _root(square: Tensor) -> Tensor:
    """Compute the square root, with a zero derivative at zero.

    Rounding may make a difference of two squares negative, which counts as zero. There the result
    is the root of the smallest normal number, negligible compared with any eps.
    """
    return square.clamp(min=torch.finfo(square.dtype).tiny).sqrt()
