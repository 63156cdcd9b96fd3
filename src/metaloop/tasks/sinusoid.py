"""Sinusoid regression, Finn et al. 2017 (arXiv:1703.03400), section 5.1."""

import math

import torch

from metaloop.arguments import Count
from metaloop.episode import Episode, Examples
from metaloop.tasks.dice import Dice, Split
from metaloop.tasks.task import RegressionTask

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, math.pi)
X = (-5.0, 5.0)


class Sinusoid(RegressionTask):
    """y = amplitude * sin(x - phase): every task another amplitude and phase.

    Amplitude uniform in [0.1, 5], phase in [0, pi], x in [-5, 5]. The splits differ in their
    random streams alone: all draw from the same distribution.

    Args:
        shots: K, support points of a task.
        queries: query points of a task.

    """

    input_shape = (1,)
    output_size = 1

    def __init__(self, *, shots: Count, queries: Count) -> None:
        self.shots, self.queries = shots, queries

    def draw(self, split: Split, dice: Dice) -> Episode:
        amplitude = dice.uniform(1, 1, low=AMPLITUDE[0], high=AMPLITUDE[1])
        phase = dice.uniform(1, 1, low=PHASE[0], high=PHASE[1])
        x = dice.uniform(self.shots + self.queries, 1, low=X[0], high=X[1])
        y = amplitude * torch.sin(x - phase)
        x, y = x.float(), y.float()
        return Episode(
            support=Examples(x[:, : self.shots], y[:, : self.shots]),
            query=Examples(x[:, self.shots :], y[:, self.shots :]),
            classes=torch.empty(dice.episodes, 0, dtype=torch.int64),
        )

    def describe(self) -> dict[str, int | str | bool]:
        return {"shots": self.shots, "queries": self.queries}
