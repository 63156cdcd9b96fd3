"""One step of the inner loop: from phi_k and a gradient to phi_{k+1}."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from metaloop.inner_loop.objective import Parameters
from metaloop.inner_loop.transformations import Memory, Moment, TowardsTheta, Transformation


class State(NamedTuple):
    """phi_k, the parameters that adapt, with the chain's memory of earlier steps."""

    phi: Parameters
    memories: tuple[Memory, ...]


@dataclass(frozen=True)
class Update:
    """phi_{k+1} = phi_k - chain(gradient), a pure function of state, gradient, theta and own.

    Attributes:
        chain: gradient transformations, in order; the last one scales by the step size.

    Examples:
        >>> import torch
        >>> from metaloop import ClipValue, StepSize, Update, WeightDecay
        >>> update = Update([WeightDecay(0.5), ClipValue(1.0), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([2.0])}, {"w": torch.tensor([3.0])}
        >>> update(update.start(theta), gradient, theta, {}, step=0).phi["w"]  # 2 - 0.1 * 1
        tensor([1.9000])
        >>> update.describe()["inner_chain"]
        'WeightDecay, ClipValue, StepSize'

    """

    chain: Sequence[Transformation]

    def check(self, names: Collection[str]) -> None:
        """Refuse transformations that do not fit the parameters that adapt."""
        for transformation in self.chain:
            transformation.check(names)

    def start(self, phi: Parameters) -> State:
        """Return the state before the first step."""
        return State(phi, tuple(t.start(phi) for t in self.chain))

    def __call__(
        self,
        state: State,
        gradient: Parameters,
        theta: Parameters,
        own: Parameters,
        step: int,
        hessian: Callable[[Parameters], Parameters] | None = None,
    ) -> State:
        moment = Moment(step, state.phi, theta, own, hessian)
        direction, memories = gradient, []
        for transformation, memory in zip(self.chain, state.memories, strict=True):
            direction, remembered = transformation(direction, memory, moment)
            memories.append(remembered)
        phi = {name: p - direction[name] for name, p in state.phi.items()}
        return State(phi, tuple(memories))

    @property
    def strength(self) -> float:
        """Strength of the pull towards theta: iMAML's lambda."""
        return sum(t.strength for t in self.chain if isinstance(t, TowardsTheta))

    @property
    def reads_hessian(self) -> bool:
        """True if the chain uses the support loss's Hessian."""
        return any(t.reads_hessian for t in self.chain)

    def own_parameters(self, theta: Parameters, inner_steps: int) -> dict[str, Tensor]:
        """Return the chain's learned parameters by name, at their initial values."""
        own: dict[str, Tensor] = {}
        for transformation in self.chain:
            own |= transformation.own_parameters(theta, inner_steps)
        return own

    def describe(self) -> dict[str, float | int | str]:
        """Describe the chain for a result's protocol, with the order of its links."""
        described: dict[str, float | int | str] = {}
        for transformation in self.chain:
            for key, value in transformation.describe().items():
                described[key] = f"{described[key]}, {value}" if key in described else value
        if len(self.chain) > 1:
            described["inner_chain"] = ", ".join(type(t).__name__ for t in self.chain)
        return described
