"""Families of curves: each task is a function with support and query points."""

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from metaloop.arguments import Count
from metaloop.episode import Episode, Examples
from metaloop.tasks.kinds import RegressionTask
from metaloop.tasks.random_streams import RandomStreams, Split
from metaloop.tasks.shapes import Shapes, Size
from metaloop.tasks.task import Function


class Points(NamedTuple):
    """Points of a function in each of T tasks.

    Shapes:
        x         [T, count, 1]
        function  from x to y without noise, both [T, n, 1]
        noise     [T, count, 1] or 0, added to y
    """

    x: Tensor
    function: Function
    noise: Tensor | float = 0.0


class Curve(RegressionTask):
    """Each task is another function of one variable; a subclass draws functions and points.

    The splits differ only in their random streams: all sample from the same distribution.

    Args:
        shots: K, support points per task, or the range from which it is drawn.
        queries: query points per task.
        shape_block: see Shapes.

    """

    input_shape = (1,)
    output_size = 1
    is_fresh = True

    def __init__(self, *, shots: Size, queries: Count, shape_block: Count = 1) -> None:
        self.shapes = Shapes(shots=shots, block=shape_block)
        self.queries = queries

    @abstractmethod
    def draw_points(self, streams: RandomStreams, count: int) -> Points:
        """Draw a function for each stream, and so many of its points.

        More points leave the function and the first points as they are.
        """

    def draw(self, split: Split, streams: RandomStreams) -> Episode:
        (shots,) = self.shapes.of(streams)
        points = self.draw_points(streams, shots + self.queries)
        x, y = points.x.float(), (points.function(points.x) + points.noise).float()
        return Episode(
            support=Examples(x[:, :shots], y[:, :shots]),
            query=Examples(x[:, shots:], y[:, shots:]),
            classes=torch.empty(streams.episodes, 0, dtype=torch.int64),
        )

    def truth(self, split: Split, streams: RandomStreams) -> Function:
        return self.draw_points(streams, 1).function

    def describe(self) -> dict[str, int | str | bool]:
        return {**self.shapes.describe(), "queries": self.queries}
