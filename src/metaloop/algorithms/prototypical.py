"""Prototypical networks, Snell, Swersky, Zemel 2017 (arXiv:1703.05175)."""

from collections.abc import Iterator
from itertools import repeat

from torch import Tensor
from torch.nn import functional as F

from metaloop.algorithms.algorithm import Algorithm
from metaloop.algorithms.linear_head import BIAS, WEIGHT, features, linear_head
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, Parameters, Report


class Prototypical(Algorithm):
    """The metric-learning baseline: the support set's class means form the head.

    With f the network below its head and c_n the mean of f over class n's support examples,

        p(n | x) = softmax_n(-|f(x) - c_n|^2)        (eq. 2)

    -|f - c|^2 = 2 c.f - |c|^2 - |f|^2, where the last term is the same for all classes. So the
    prototypes form a linear head, weight 2 c_n and bias -|c_n|^2 (section 2.4), and the adapted
    learner is an ordinary phi. phi_0 = theta, phi_1 has that head, and further steps repeat it.

    Deviation: the paper trains with more ways than it tests; here the ways are the task's.
    """

    def __init__(self, objective: Objective) -> None:
        linear_head(objective, "prototypical")
        self.objective = objective
        self.inner_steps = self.eval_inner_steps = 1

    @property
    def names(self) -> tuple[str, ...]:
        return (WEIGHT, BIAS)

    @property
    def untrained(self) -> frozenset[str]:
        return frozenset(self.names)

    @property
    def needs_second_derivative(self) -> bool:
        return False  # its inner loop takes no gradient

    def adapt(self, meta: Parameters, support: Examples, steps: int) -> Iterator[Parameters]:
        theta = dict(meta)
        yield theta
        if steps:
            means = self._class_means(theta, support)
            head = {WEIGHT: 2 * means, BIAS: -means.square().sum(1)}
            yield from repeat({**theta, **head}, steps)

    def meta_loss(self, meta: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        *_, adapted = self.adapt(meta, episode.support, 1)
        return self.objective.judge_query(adapted, episode)

    def describe(self) -> dict[str, float | int | str]:
        return {**super().describe(), "part": "head", "distance": "squared euclidean"}

    def _class_means(self, theta: Parameters, support: Examples) -> Tensor:
        """Compute the prototypes [N, features]; shots may differ from class to class."""
        if support.targets.is_floating_point():
            raise UserError(
                "algorithm=prototypical averages the examples of each class, but the task's "
                "targets are real numbers. Choose a classification task, or another algorithm."
            )
        ways = len(theta[WEIGHT])
        embedded = features(self.objective, theta, support.inputs)
        members = F.one_hot(support.targets, ways).to(embedded.dtype)
        return members.T @ embedded / members.sum(0).clamp(min=1)[:, None]
