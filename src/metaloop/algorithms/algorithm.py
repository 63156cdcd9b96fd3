"""The contract of a meta-learning algorithm."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from torch import Tensor

from metaloop.episode import Episode, Examples
from metaloop.inner_loop import STATISTICS, Objective, Parameters, Report, has_statistics


class Algorithm(ABC):
    """Two verbs over one inner loop; both see one task and are vectorised from outside.

    Attributes:
        objective: the model, its loss and metrics.
        inner_steps: K while meta-training.
        eval_inner_steps: K in evaluation; may exceed inner_steps.
        collects_statistics: whether training stores the norms' statistics, which norm_mode=frozen
            reads.

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

        The report is apart from the loss and carries no gradient: query_loss and the metrics
        of the learner after K steps.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that differ from theta once the learner has adapted."""
        return tuple(self.objective.meta_parameters())

    @property
    def adapts_by(self) -> tuple[object, ...] | None:
        """All that `adapt` reads of the algorithm but its objective, to be compared.

        Arguments that change none of it have no effect on a trained learner. None: not known.
        """
        return None

    @property
    def lacks_statistics(self) -> bool:
        """Whether the norm mode reads stored statistics, and this algorithm stores none."""
        if not self.objective.mode.stores or not self.objective.norms:
            return False
        if any(name.startswith(STATISTICS) for name in self.own_parameters()):
            return False
        # a pretrained network brings its own, one row for all inner steps
        is_stored = all(has_statistics(norm) for norm in self.objective.norms.values())
        return self.objective.mode.tracks_path or not is_stored

    @property
    def untrained(self) -> frozenset[str]:
        """The model's parameters that the meta-loss never reaches: no optimizer may decay them."""
        return frozenset()

    @property
    def needs_second_derivative(self) -> bool:
        """Whether its meta-gradient holds second derivatives of the support loss.

        They are checked before the first step. An algorithm that takes none may say False.
        """
        return True

    @property
    def evaluates_twice(self) -> bool:
        """Whether a loss is evaluated again on the way back, and has to have the same value."""
        return False

    @property
    def needs_forward_mode(self) -> bool:
        """Whether it calls torch.func.jvp; then override it with True.

        The model's forward derivative is checked then, and chunks are computed one by one: torch
        keeps one stack of forward-mode levels for all threads.
        """
        return False

    def own_parameters(self) -> dict[str, Tensor]:
        """What the algorithm meta-learns beside the model's parameters, at its initial values."""
        return {}

    def divide(self, meta: Parameters) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The model's parameters, theta, and the algorithm's own."""
        theta = {name: meta[name] for name in self.objective.meta_parameters()}
        return theta, {name: p for name, p in meta.items() if name not in theta}

    def judged_by(self, objective: Objective) -> Self:
        """The same algorithm with another norm mode, or a copy of its model."""
        other = copy.copy(self)
        object.__setattr__(other, "objective", objective)  # dataclasses here are frozen
        return other

    def for_ways(self, ways: int) -> Self:
        """The same algorithm for episodes of so many classes, where their number varies."""
        objective = self.objective.for_ways(ways)
        return self if objective is self.objective else self.judged_by(objective)

    def at(self, meta_step: int) -> "Algorithm":
        """The algorithm as it is at this meta-step: schedules are functions of the step."""
        return self

    @property
    def scheduled(self) -> tuple[float, ...]:
        """Numbers that `at` changes while what is computed with them stays the same."""
        return ()

    def with_scheduled(self, numbers: Sequence[float | Tensor]) -> "Algorithm":
        """The same algorithm with other such numbers: one graph, compiled once, for all of them."""
        return self

    def describe(self) -> dict[str, float | int | str]:
        """Say what a result's protocol has to name: inner step size and steps, norm mode .."""
        return {
            "inner_steps": self.inner_steps,
            "eval_inner_steps": self.eval_inner_steps,
            "norm_mode": self.objective.norm_mode,
            "norm_adapts": self.objective.norm_adapts,
        }
