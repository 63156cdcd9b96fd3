"""Outer losses: combine the losses along phi_0 .. phi_K into the meta-loss."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metaloop.arguments import Count
from metaloop.episode import Episode
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, Parameters, Report


class OuterLoss:
    """The contract: compute the meta-loss from a learner's path and the episode.

    Attributes:
        differentiates_path: whether its gradient flows through the inner steps, so that the
            choice of adjoint matters.

    Examples:
        >>> import torch
        >>> from metaloop import Episode, Examples, Objective, OuterLoss
        >>> class BothSets(OuterLoss):
        ...     def __call__(self, objective, theta, path, episode):
        ...         *_, phi = path
        ...         loss, report = objective.judge_query(phi, episode)
        ...         return loss + objective.support_loss(phi, episode.support), report
        >>> objective = Objective(model=torch.nn.Linear(1, 1, bias=False), loss=torch.nn.MSELoss())
        >>> one = Examples(torch.ones(1, 1), torch.zeros(1, 1))  # L(w) = w^2
        >>> path = [{"weight": torch.tensor([[w]])} for w in (4.0, 2.0, 1.0)]
        >>> BothSets()(objective, path[0], path, Episode(one, one, torch.empty(0)))[0]  # 1 + 1
        tensor(2.)

    """

    differentiates_path = True

    def __call__(
        self, objective: Objective, theta: Parameters, path: Iterable[Parameters], episode: Episode
    ) -> tuple[Tensor, Report]:
        """Return the meta-loss, and the query set's report at phi_K."""
        raise NotImplementedError

    def check(self, inner_steps: int) -> None:
        """Raise a UserError if the outer loss does not fit this number of inner steps."""

    def at(self, meta_step: int) -> "OuterLoss":
        """Return the outer loss at this meta-step: schedules are functions of the step."""
        return self

    @property
    def scheduled(self) -> tuple[float, ...]:
        """Values that `at` changes; see Algorithm.scheduled."""
        return ()

    def with_scheduled(self, values: Sequence[float | Tensor]) -> "OuterLoss":
        """Copy with other such values."""
        return self


@dataclass(frozen=True)  # compared by value, since `at` makes new ones
class QueryLoss(OuterLoss):
    """L(phi_K; query): Finn et al. 2017 (arXiv:1703.03400), Algorithm 1, line 8.

    Examples:
        >>> import torch
        >>> from metaloop import Episode, Examples, Objective, QueryLoss
        >>> objective = Objective(model=torch.nn.Linear(1, 1, bias=False), loss=torch.nn.MSELoss())
        >>> one = Examples(torch.ones(1, 1), torch.zeros(1, 1))  # L(w) = w^2
        >>> path = [{"weight": torch.tensor([[w]])} for w in (4.0, 3.0)]
        >>> episode = Episode(support=one, query=one, classes=torch.empty(0))
        >>> QueryLoss()(objective, path[0], path, episode)
        (tensor(9.), {'query_loss': tensor(9.)})

    """

    def __call__(
        self, objective: Objective, theta: Parameters, path: Iterable[Parameters], episode: Episode
    ) -> tuple[Tensor, Report]:
        for phi in path:
            adapted = phi
        return objective.judge_query(adapted, episode)


@dataclass(frozen=True)
class MultiStepLoss(OuterLoss):
    """sum_k weights[k-1] * L(phi_k; query), k = 1 .. K.

    The multi-step loss of MAML++: Antoniou et al. 2019 (arXiv:1810.09502), eq. 2.

    Attributes:
        weights: one per inner step.

    Examples:
        >>> import torch
        >>> from metaloop import Episode, Examples, MultiStepLoss, Objective
        >>> objective = Objective(model=torch.nn.Linear(1, 1, bias=False), loss=torch.nn.MSELoss())
        >>> one = Examples(torch.ones(1, 1), torch.zeros(1, 1))  # L(w) = w^2
        >>> path = [{"weight": torch.tensor([[w]])} for w in (4.0, 2.0, 1.0)]
        >>> episode = Episode(support=one, query=one, classes=torch.empty(0))
        >>> MultiStepLoss([0.25, 0.75])(objective, path[0], path, episode)[0]  # 0.25 * 4 + 0.75 * 1
        tensor(1.7500)

    """

    weights: Sequence[float | Tensor]

    def __call__(
        self, objective: Objective, theta: Parameters, path: Iterable[Parameters], episode: Episode
    ) -> tuple[Tensor, Report]:
        steps = iter(path)  # `check` has compared the lengths for the strict zip
        next(steps)  # phi_0 has no weight
        judged = [objective.judge_query(phi, episode) for phi in steps]
        losses = [w * loss for w, (loss, _) in zip(self.weights, judged, strict=True)]
        return torch.stack(losses).sum(), judged[-1][1]

    def check(self, inner_steps: int) -> None:
        if len(self.weights) != inner_steps:
            raise UserError(
                f"A multi-step loss needs one weight for each of the {inner_steps} inner steps, "
                f"not {len(self.weights)}. Change outer_loss.weights or inner_steps."
            )

    @property
    def scheduled(self) -> tuple[float, ...]:
        return tuple(float(weight) for weight in self.weights)

    def with_scheduled(self, values: Sequence[float | Tensor]) -> "MultiStepLoss":
        return MultiStepLoss(tuple(values))


@dataclass(frozen=True)
class AnnealedMultiStepLoss(OuterLoss):
    """A multi-step loss whose weight moves to the last step, epoch by epoch.

    At epoch e of E, with K inner steps (the authors' code; the paper gives no formula),

        w_k = max(1/K - e/(K E), 0.03/K) for k < K,    w_K = 1 - sum of those

    and from epoch E on only the query loss at phi_K. Antoniou et al. 2019 (arXiv:1810.09502),
    section 4, "multi-step loss optimization".

    Attributes:
        inner_steps: K.
        epochs: E.
        epoch_steps: meta-steps per epoch; the authors use 500.

    Examples:
        >>> from metaloop import AnnealedMultiStepLoss
        >>> outer_loss = AnnealedMultiStepLoss(inner_steps=2, epochs=2, epoch_steps=500)
        >>> [outer_loss.at(meta_step) for meta_step in (0, 500, 1000)]
        [MultiStepLoss(weights=(0.5, 0.5)), MultiStepLoss(weights=(0.25, 0.75)), QueryLoss()]

    """

    inner_steps: Count
    epochs: Count
    epoch_steps: Count

    def __call__(
        self, objective: Objective, theta: Parameters, path: Iterable[Parameters], episode: Episode
    ) -> tuple[Tensor, Report]:
        return self.at(0)(objective, theta, path, episode)

    def check(self, inner_steps: int) -> None:
        if self.inner_steps != inner_steps:
            raise UserError(
                f"outer_loss.inner_steps={self.inner_steps} differs from the algorithm's "
                f"inner_steps={inner_steps}. Make them equal."
            )

    def at(self, meta_step: int) -> OuterLoss:
        epoch = meta_step // self.epoch_steps
        if epoch >= self.epochs:
            return QueryLoss()
        share = 1 / self.inner_steps
        early = max(share - epoch * share / self.epochs, 0.03 * share)
        others = self.inner_steps - 1
        return MultiStepLoss((early,) * others + (1 - others * early,))


@dataclass(frozen=True)
class SquaredDistance(OuterLoss):
    """|theta - phi_K|^2 / 2 with phi_K a constant: its gradient is theta - phi_K.

    The loss of Reptile: Nichol et al. 2018 (arXiv:1803.02999), Algorithm 1. It does not use the
    query set and does not differentiate the inner loop; the report is still the query set's.

    Examples:
        >>> import torch
        >>> from metaloop import Episode, Examples, Objective, SquaredDistance
        >>> objective = Objective(model=torch.nn.Linear(1, 1, bias=False), loss=torch.nn.MSELoss())
        >>> one = Examples(torch.ones(1, 1), torch.zeros(1, 1))
        >>> path = [{"weight": torch.tensor([[w]])} for w in (4.0, 2.0)]
        >>> episode = Episode(support=one, query=one, classes=torch.empty(0))
        >>> SquaredDistance()(objective, path[0], path, episode)[0]  # (4 - 2)^2 / 2
        tensor(2.)

    """

    differentiates_path = False

    def __call__(
        self, objective: Objective, theta: Parameters, path: Iterable[Parameters], episode: Episode
    ) -> tuple[Tensor, Report]:
        for phi in path:
            adapted = {name: p.detach() for name, p in phi.items()}
        squares = [(p - adapted[name]).square().sum() for name, p in theta.items()]
        return torch.stack(squares).sum() / 2, objective.judge_query(adapted, episode)[1]
