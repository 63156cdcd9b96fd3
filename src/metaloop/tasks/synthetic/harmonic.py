"""Sums of two sine waves."""

import math

import torch
from torch import Tensor

from metaloop.arguments import Count, NonNegative
from metaloop.tasks.random_streams import RandomStreams
from metaloop.tasks.shapes import Size
from metaloop.tasks.synthetic.curve import Curve, Points

FREQUENCY = (5.0, 7.0)
CENTRE = (-4.0, 4.0)


class Harmonic(Curve):
    """y = a_1 sin(w x + b_1) + a_2 sin(2 w x + b_2), observed around one centre.

    Lacoste et al. 2018 (arXiv:1806.07528), "Harmonics".

    Amplitudes are normal, w uniform in [5, 7], phases uniform in [0, 2 pi]; x is normal with
    deviation 1 around a centre uniform in [-4, 4], one per task. The ranges are torchmeta's for
    the paper's task. Harder than `Sinusoid`: five unknowns, and a dozen waves in the range of x.

    Args:
        shots: K, support points per task, or the range from which it is drawn.
        queries: query points per task.
        shape_block: see Shapes.
        noise_std: standard deviation of Gaussian noise on all targets.

    Examples:
        >>> import torch
        >>> from metaloop import Harmonic, RandomStreams
        >>> task = Harmonic(shots=5, queries=10, noise_std=0.1)
        >>> episodes = task.draw("train", RandomStreams(0, "train", torch.arange(4)))
        >>> episodes.support.inputs.shape, episodes.query.targets.shape
        (torch.Size([4, 5, 1]), torch.Size([4, 10, 1]))

    """

    def __init__(
        self, *, shots: Size, queries: Count, noise_std: NonNegative, shape_block: Count = 1
    ) -> None:
        super().__init__(shots=shots, queries=queries, shape_block=shape_block)
        self.noise_std = noise_std

    def draw_points(self, streams: RandomStreams, count: int) -> Points:
        frequency = streams.uniform(1, 1, low=FREQUENCY[0], high=FREQUENCY[1])
        centre = streams.uniform(1, 1, low=CENTRE[0], high=CENTRE[1])
        phases = streams.uniform(1, 2, high=2 * math.pi)
        amplitudes = streams.normal(1, 2)
        around, noise = streams.normal(count, 2).chunk(2, -1)
        waves = frequency * torch.tensor([1.0, 2.0])

        def function(x: Tensor) -> Tensor:
            return (amplitudes * torch.sin(waves * x + phases)).sum(-1, keepdim=True)

        return Points(centre + around, function, self.noise_std * noise)

    def describe(self) -> dict[str, int | str | bool]:
        return {**super().describe(), "noise_std": f"{self.noise_std:g}"}
