"""The contract of a meta-learning algorithm."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from torch import Tensor

from metaloop.adapters import describe
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import STATISTICS, Objective, Parameters, Report, has_statistics


class Algorithm(ABC):
    """A meta-learning algorithm. `adapt` and `meta_loss` see one task; callers vectorise them.

    Attributes:
        objective: the model, its loss and metrics.
        inner_steps: K in meta-training.
        eval_inner_steps: K in evaluation; may exceed inner_steps.
        collects_statistics: whether training stores the norms' statistics for norm_mode=frozen.

    Examples:
        >>> import torch
        >>> from metaloop import Algorithm, Episode, Examples, Objective
        >>> class Centred(Algorithm):
        ...     inner_steps = eval_inner_steps = 1
        ...     def __init__(self, objective):
        ...         self.objective = objective
        ...     def adapt(self, meta, support, steps):
        ...         yield meta
        ...         for _ in range(steps):  # the bias becomes the mean residual of the weights
        ...             residuals = support.targets - support.inputs @ meta["weight"].T
        ...             yield {**meta, "bias": residuals.mean(0)}
        ...     def meta_loss(self, meta, episode):
        ...         *_, phi = self.adapt(meta, episode.support, self.inner_steps)
        ...         return self.objective.judge_query(phi, episode)
        >>> objective = Objective(model=torch.nn.Linear(1, 1), loss=torch.nn.MSELoss())
        >>> algorithm = Centred(objective)
        >>> episode = Episode(
        ...     support=Examples(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]])),
        ...     query=Examples(torch.zeros(1, 1), torch.tensor([[5.0]])),
        ...     classes=torch.empty(0),
        ... )
        >>> algorithm.meta_loss(objective.meta_parameters(), episode)[0].item()  # (2 - 5)^2
        9.0

    """

    objective: Objective
    inner_steps: int
    eval_inner_steps: int
    collects_statistics: ClassVar[bool] = False

    @abstractmethod
    def adapt(self, meta: Parameters, support: Examples, steps: int) -> Iterator[Parameters]:
        """Yield phi_0 .. phi_steps: the learner adapted to one task, step by step."""

    @abstractmethod
    def meta_loss(self, meta: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        """Return a scalar whose gradient in `meta` is the algorithm's meta-gradient.

        The report is separate from the loss and carries no gradient: query_loss and the metrics of
        the learner after K steps.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that adaptation changes."""
        return tuple(self.objective.meta_parameters())

    @property
    def adapts_by(self) -> tuple[object, ...] | None:
        """Everything that `adapt` reads from the algorithm except its objective, for comparison.

        Changing any other argument has no effect on a trained learner. None means unknown.
        """
        return None

    @property
    def lacks_statistics(self) -> bool:
        """True if the norm mode reads stored statistics that this algorithm does not store."""
        if not self.objective.mode.stores or not self.objective.norms:
            return False
        if any(name.startswith(STATISTICS) for name in self.own_parameters()):
            return False
        # a pretrained network brings its statistics, a single row for all inner steps
        is_stored = all(has_statistics(norm) for norm in self.objective.norms.values())
        return self.objective.mode.tracks_path or not is_stored

    @property
    def untrained(self) -> frozenset[str]:
        """Model parameters that the meta-loss does not depend on: no optimizer may decay them."""
        return frozenset()

    @property
    def needs_second_derivative(self) -> bool:
        """True if its meta-gradient contains second derivatives of the support loss.

        They are checked before the first step. Override with False if there are none.
        """
        return True

    @property
    def evaluates_twice(self) -> bool:
        """True if the backward pass evaluates a loss again and needs the same value."""
        return False

    @property
    def needs_forward_mode(self) -> bool:
        """True if it calls torch.func.jvp; override it then.

        The model's forward derivative is then checked, and chunks run one after another: torch
        shares one stack of forward-mode levels between all threads.
        """
        return False

    def own_parameters(self) -> dict[str, Tensor]:
        """Parameters that the algorithm learns in addition to the model's, at initial values."""
        return {}

    def divide(self, meta: Parameters) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The model's parameters, theta, and the algorithm's own."""
        names = self.objective.parameter_names
        theta = {name: p for name, p in meta.items() if name in names}
        return theta, {name: p for name, p in meta.items() if name not in names}

    def judged_by(self, objective: Objective) -> Self:
        """Copy the algorithm, with another norm mode, fewer metrics or a copy of its model."""
        other = copy.copy(self)
        object.__setattr__(other, "objective", objective)  # dataclasses here are frozen
        vars(other).pop("names", None)  # where they are cached, of the other model
        return other

    def for_ways(self, ways: int) -> Self:
        """Copy the algorithm for episodes of this many classes, where the number varies."""
        objective = self.objective.for_ways(ways)
        return self if objective is self.objective else self.judged_by(objective)

    def at(self, meta_step: int) -> "Algorithm":
        """Return the algorithm at this meta-step: schedules are functions of the step."""
        return self

    @property
    def scheduled(self) -> tuple[float, ...]:
        """Values that `at` changes without changing the computation."""
        return ()

    def with_scheduled(self, numbers: Sequence[float | Tensor]) -> "Algorithm":
        """Copy with other such values, so that one compiled graph serves all of them."""
        return self

    def describe(self) -> dict[str, float | int | str]:
        """Describe the protocol for a result: inner step size, steps, norm mode and so on."""
        return {
            "inner_steps": self.inner_steps,
            "eval_inner_steps": self.eval_inner_steps,
            "norm_mode": self.objective.norm_mode,
            "norm_adapts": self.objective.norm_adapts,
            **describe(self.objective.model),
        }
