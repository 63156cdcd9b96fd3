"""A mean over episodes with its 95 % confidence interval."""

from typing import NamedTuple

import torch
from torch import Tensor


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
