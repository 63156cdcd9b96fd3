"""A mean with its 95 % confidence interval."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor

EpisodeInterval = Literal["closed", "open"]
Interval = EpisodeInterval | Literal["seeds", "examples"]
# the variation that each kind of interval includes
INTERVALS: Mapping[Interval, str] = {
    "closed": "over episodes that may share examples: only the sampler's randomness",
    "open": "over episodes that share no example: the data's randomness too",
    "seeds": "over runs that differ only in their seed",
    "examples": "over the examples of one task",
}
MANY = 600  # usual number of episodes in papers, whose quantile is 1.96


class Estimate(NamedTuple):
    """A mean with the half-width of its 95 % interval; both [K+1] or scalar.

    `episodes` is the number of values averaged: episodes, or runs, or examples.

    Examples:
        >>> import torch
        >>> from metaloop import estimate
        >>> accuracies = torch.tensor([0.0, 1.0]).repeat(300)  # of 600 episodes
        >>> mean, half_width, episodes = estimate(accuracies)
        >>> f"{mean:.2f} +/- {half_width:.2f} over {episodes} episodes"
        '0.50 +/- 0.04 over 600 episodes'

    """

    mean: Tensor
    half_width: Tensor
    episodes: int


def estimate(values: Tensor) -> Estimate:
    """Mean +/- t * std / sqrt(n), in float64, over the first axis of n independent values.

    The standard deviation is the sample's (n - 1), and t is Student's quantile for n - 1 degrees of
    freedom; 1.96 from 600 values on, as in papers. The interval of a single value is nan. For the
    interval of a difference, pass the paired differences.

    Examples:
        >>> import torch
        >>> from metaloop import estimate
        >>> mean, half_width, count = estimate(torch.tensor([1.0, 2.0, 3.0, 6.0]))
        >>> mean.item(), round(half_width.item(), 2)  # 3.18 * sqrt(14 / 3) / 2
        (3.0, 3.44)

    """
    values = values.double()
    count = len(values)
    if count < 2:
        return Estimate(values.mean(0), values[0] * torch.nan, count)
    quantile = 1.96 if count >= MANY else float(stdtrit(count - 1, 0.975))
    return Estimate(values.mean(0), quantile * values.std(0) / count**0.5, count)
