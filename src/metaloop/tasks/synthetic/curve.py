"""What families of curves share: points of one function a task, some to adapt, some to judge."""

from abc import abstractmethod

import torch
from torch import Tensor

from metaloop.arguments import Count
from metaloop.episode import Episode, Examples
from metaloop.tasks.random_streams import RandomStreams, Split
from metaloop.tasks.task import RegressionTask


class Curve(RegressionTask):
    """Every task another function of one number; a subclass draws functions and points.

    The splits differ in their random streams alone: all draw from the same distribution.

    Args:
        shots: K, support points of a task.
        queries: query points of a task.

    """

    input_shape = (1,)
    output_size = 1

    def __init__(self, *, shots: Count, queries: Count) -> None:
        self.shots, self.queries = shots, queries

    @abstractmethod
    def draw_points(self, streams: RandomStreams, count: int) -> tuple[Tensor, Tensor]:
        """Draw a function for each stream, and x and y of so many of its points.

        More points leave the function and the first points as they are.

        Shapes:
            x, y [T, count, 1]
        """

    def draw(self, split: Split, streams: RandomStreams) -> Episode:
        points = self.draw_points(streams, self.shots + self.queries)
        x, y = (values.float() for values in points)
        return Episode(
            support=Examples(x[:, : self.shots], y[:, : self.shots]),
            query=Examples(x[:, self.shots :], y[:, self.shots :]),
            classes=torch.empty(streams.episodes, 0, dtype=torch.int64),
        )

    def describe(self) -> dict[str, int | str | bool]:
        return {"shots": self.shots, "queries": self.queries}
