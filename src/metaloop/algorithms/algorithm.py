"""The contract of a meta-learning algorithm."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor

from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective, Parameters, Report


class Algorithm(ABC):
    """Two verbs over one inner loop; both see one task and are vectorised from outside.

    Attributes:
        objective: the model, its loss and metrics.
        inner_steps: K while meta-training.
        eval_inner_steps: K in evaluation; may exceed inner_steps.

    """

    objective: Objective
    inner_steps: int
    eval_inner_steps: int

    @abstractmethod
    def adapt(self, meta: Parameters, support: Examples, steps: int) -> Iterator[Parameters]:
        """Yield phi_0 .. phi_steps: the learner adapted to one task, step by step."""

    @abstractmethod
    def meta_loss(self, meta: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        """Return a scalar whose gradient in `meta` is the algorithm's meta-gradient.

        The report is apart from the loss and carries no gradient: query_loss and the metrics
        of the learner after K steps.
        """

    def own_parameters(self) -> dict[str, Tensor]:
        """What the algorithm meta-learns beside the model's parameters, at its initial values."""
        return {}

    def at(self, meta_step: int) -> "Algorithm":
        """The algorithm as it is at this meta-step: schedules are functions of the step."""
        return self

    def describe(self) -> dict[str, float | int | str]:
        """Say what a result's protocol has to name: inner step size and steps, norm mode .."""
        return {
            "inner_steps": self.inner_steps,
            "eval_inner_steps": self.eval_inner_steps,
            "norm_mode": self.objective.norm_mode,
        }
