"""Noisy sinusoids and lines."""

import torch
from torch import Tensor

from metaloop.arguments import Count, NonNegative
from metaloop.tasks.random_streams import RandomStreams
from metaloop.tasks.shapes import Size
from metaloop.tasks.synthetic.curve import Curve, Points
from metaloop.tasks.synthetic.sinusoid import X, draw_sine

SLOPE_AND_INTERCEPT = (-3.0, 3.0)


class SinusoidLine(Curve):
    """Each task is a noisy sinusoid or, equally often, a noisy line: which one may be unclear.

    Finn, Xu and Levine 2018 (arXiv:1806.02817), section 5. Sinusoids as in `Sinusoid`; y = slope *
    x + intercept with both uniform in [-3, 3]; x uniform in [-5, 5]. Gaussian noise is added to the
    targets of both sets.

    Args:
        shots: K, support points per task, or the range from which it is drawn.
        queries: query points per task.
        shape_block: see Shapes.
        noise_std: standard deviation of the noise; 0.3 in the paper.

    Examples:
        >>> import torch
        >>> from metaloop import RandomStreams, SinusoidLine
        >>> task = SinusoidLine(shots=5, queries=10, noise_std=0.3)
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
        is_line = streams.uniform(1, 1) < 0.5
        amplitude, phase = draw_sine(streams)
        low, high = SLOPE_AND_INTERCEPT
        slope, intercept = (streams.uniform(1, 1, low=low, high=high) for _ in range(2))
        # x and noise of a point are drawn together, so that more points do not change earlier ones
        position, noise = streams.uniform(count, 2).chunk(2, -1)
        x = X[0] + (X[1] - X[0]) * position

        def function(x: Tensor) -> Tensor:
            return torch.where(is_line, slope * x + intercept, amplitude * torch.sin(x - phase))

        return Points(x, function, self.noise_std * torch.special.ndtri(noise))

    def describe(self) -> dict[str, int | str | bool]:
        return {**super().describe(), "noise_std": f"{self.noise_std:g}"}
