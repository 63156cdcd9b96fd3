"""Values of every episode, and what they say together: a mean with its 95 % interval."""

from typing import NamedTuple

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from metaloop.inner_loop import Report


class Estimate(NamedTuple):
    """A mean over episodes with the half-width of its 95 % interval; both [K+1] or scalar."""

    mean: Tensor
    half_width: Tensor
    episodes: int


def estimate(values: Tensor) -> Estimate:
    """Mean +/- 1.96 * std / sqrt(episodes), in float64, over the first axis.

    The standard deviation is the sample's (n - 1); a single episode has no interval: nan.
    """
    values = values.double()
    episodes = len(values)
    half_width = 1.96 * values.std(0) / episodes**0.5 if episodes > 1 else values[0] * torch.nan
    return Estimate(values.mean(0), half_width, episodes)


class EpisodeValues(torchmetrics.Metric):
    """Keeps what each evaluated episode reported; the same whatever process evaluated it."""

    full_state_update = False
    index: list[Tensor]
    values: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.add_state("index", default=[], dist_reduce_fx="cat")
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, index: Tensor, report: Report) -> None:
        """Add some episodes: index [T], report[name] [T, K+1]."""
        self.names = list(report)
        self.index.append(index)
        self.values.append(torch.stack([report[name].double() for name in self.names], dim=1))

    def compute(self) -> Report:
        """All episodes in the order of their numbers: report[name] [episodes, K+1]."""
        order = dim_zero_cat(self.index).argsort()
        values = dim_zero_cat(self.values)[order]
        return dict(zip(self.names, values.unbind(1), strict=True))
