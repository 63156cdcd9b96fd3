"""Sinusoid regression."""

import math

import torch
from torch import Tensor

from metaloop.tasks.random_streams import RandomStreams
from metaloop.tasks.synthetic.curve import Curve, Points

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, math.pi)
X = (-5.0, 5.0)


class Sinusoid(Curve):
    """y = amplitude * sin(x - phase): each task has another amplitude and phase.

    Finn et al. 2017 (arXiv:1703.03400), section 5.1. Amplitude uniform in [0.1, 5], phase in [0,
    pi], x in [-5, 5].

    Args:
        shots: K, support points per task, or the range from which it is drawn.
        queries: query points per task.
        shape_block: see Shapes.

    Examples:
        >>> import torch
        >>> from metaloop import RandomStreams, Sinusoid
        >>> task = Sinusoid(shots=5, queries=10)
        >>> episodes = task.draw("train", RandomStreams(0, "train", torch.arange(4)))
        >>> episodes.support.inputs.shape, episodes.query.targets.shape
        (torch.Size([4, 5, 1]), torch.Size([4, 10, 1]))

    """

    def draw_points(self, streams: RandomStreams, count: int) -> Points:
        amplitude, phase = draw_sine(streams)
        x = streams.uniform(count, 1, low=X[0], high=X[1])
        return Points(x, lambda x: amplitude * torch.sin(x - phase))


def draw_sine(streams: RandomStreams) -> tuple[Tensor, Tensor]:
    """Draw amplitude and phase, both [T, 1, 1]."""
    amplitude = streams.uniform(1, 1, low=AMPLITUDE[0], high=AMPLITUDE[1])
    return amplitude, streams.uniform(1, 1, low=PHASE[0], high=PHASE[1])
