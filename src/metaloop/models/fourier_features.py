"""A network on Fourier features, for neural fields."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from metaloop.arguments import Count, CountOrZero, Positive
from metaloop.models.vectors import require_real


class FourierFeatures(nn.Module):
    """gamma(x) = [cos(2 pi B x), sin(2 pi B x)], hidden layers with ReLU, a linear head.

    Tancik et al. 2020 (arXiv:2006.10739).

    B is drawn once, normal with standard deviation `scale` (the Gaussian mapping, section 6), and
    is not learned. Deviation: the paper's network for images ends with a sigmoid.

    Args:
        input_size: elements of one input.
        output_size: elements of one output.
        features: number of rows of B, half the size of gamma(x).
        scale: standard deviation of B, in periods per unit of the inputs.
        hidden: widths of the hidden layers.
        vocabulary_size: the task's vocabulary; tokens are refused.

    Raises:
        UserError: if the task's inputs are tokens.

    Shapes:
        x [rows, input_size]; the result [rows, output_size]

    Examples:
        >>> import torch
        >>> from metaloop import FourierFeatures
        >>> network = FourierFeatures(2, 3, features=16, scale=10.0, hidden=[8])
        >>> network(torch.zeros(64, 2)).shape, network.frequencies.shape
        (torch.Size([64, 3]), torch.Size([16, 2]))

    """

    frequencies: Tensor

    def __init__(
        self,
        input_size: Count,
        output_size: Count,
        *,
        features: Count,
        scale: Positive,
        hidden: Sequence[Count],
        vocabulary_size: CountOrZero = 0,
    ) -> None:
        super().__init__()
        require_real("FourierFeatures", vocabulary_size)
        self.register_buffer("frequencies", scale * torch.randn(features, input_size))
        sizes = [2 * features, *hidden]
        layers = [nn.Sequential(nn.Linear(i, o), nn.ReLU()) for i, o in pairwise(sizes)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], output_size)

    def forward(self, x: Tensor) -> Tensor:
        angles = 2 * math.pi * x.flatten(1) @ self.frequencies.T
        features = torch.cat([angles.cos(), angles.sin()], 1)
        outputs: Tensor = self.head(self.body(features))
        return outputs
