"""Where the inner loop begins: theta, or what the support set puts in place of some of it."""

from typing import ClassVar, Literal

from metaloop.algorithms.linear_head import BIAS, WEIGHT, linear_head, prototypes
from metaloop.episode import Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, Parameters, at_step

StartName = Literal["theta", "prototypes"]


class Start:
    """The contract, and what it is as a rule: phi_0 = theta.

    Attributes:
        name: its name in a config.
        replaced: the parameters of theta that others stand for in phi_0, so that nothing of
            them is learned.

    """

    name: ClassVar[StartName] = "theta"
    replaced: ClassVar[frozenset[str]] = frozenset()

    def check(self, objective: Objective, inner_steps: int) -> None:
        """Refuse a model, or a number of inner steps, that it does not fit."""
        if not inner_steps:
            raise UserError(
                "inner_steps=0 from theta adapts to nothing. Take one step at least, or "
                "start=prototypes, which has seen the support set."
            )

    def __call__(
        self, objective: Objective, theta: Parameters, own: Parameters, support: Examples
    ) -> Parameters:
        """Return phi_0; `own` is what the algorithm learns beside theta."""
        return theta


class FromPrototypes(Start):
    """The head starts at the prototypes of the support set, differentiably in theta.

    Triantafillou et al. 2020 (arXiv:1903.03096), Proto-MAML.
    """

    name: ClassVar[StartName] = "prototypes"
    replaced: ClassVar[frozenset[str]] = frozenset({WEIGHT, BIAS})

    def check(self, objective: Objective, inner_steps: int) -> None:
        linear_head(objective, "start=prototypes")

    def __call__(
        self, objective: Objective, theta: Parameters, own: Parameters, support: Examples
    ) -> Parameters:
        here = at_step(objective, theta, own, 0)  # phi_0's norms
        return {**theta, **prototypes(objective, here, support)}


STARTS: dict[StartName, Start] = {start.name: start for start in (Start(), FromPrototypes())}
