"""SIREN: sine activations, for neural fields."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from metaloop.arguments import Count, CountOrZero, Positive
from metaloop.models.vectors import require_real


class Siren(nn.Module):
    """Hidden layers x -> sin(w0 (W x + b)), then a linear head.

    Sitzmann et al. 2020 (arXiv:2006.09661). Initialised as in section 3.2 and supplement 1.5, so
    that the arguments of all sines but the first layer's are standard normal. Weights of a layer
    with n inputs are uniform in

        +/- 1 / n              for the first layer,
        +/- sqrt(6 / n) / w0   for all others, the head included.

    Biases keep torch's initialisation, as in the authors' code.

    Args:
        input_size: elements of one input.
        output_size: elements of one output.
        hidden: widths of the hidden layers.
        w0: factor in every sine; in the first layer it sets the range of frequencies.
        vocabulary_size: the task's vocabulary; tokens are refused.

    Raises:
        UserError: if the task's inputs are tokens.

    Shapes:
        x [rows, *X]; the result [rows, output_size]

    Examples:
        >>> import torch
        >>> from metaloop import Siren
        >>> network = Siren(2, 3, hidden=[8, 8], w0=30.0)
        >>> network(torch.zeros(64, 2)).shape
        torch.Size([64, 3])

    """

    def __init__(
        self,
        input_size: Count,
        output_size: Count,
        *,
        hidden: Sequence[Count],
        w0: Positive,
        vocabulary_size: CountOrZero = 0,
    ) -> None:
        super().__init__()
        require_real("Siren", vocabulary_size)
        sizes = pairwise([input_size, *hidden])
        layers = [nn.Sequential(nn.Linear(inputs, width), Sine(w0)) for inputs, width in sizes]
        self.body = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Linear([input_size, *hidden][-1], output_size)
        linear = [layer for layer in self.modules() if isinstance(layer, nn.Linear)]
        for layer in linear:
            bound = math.sqrt(6 / layer.in_features) / w0
            nn.init.uniform_(layer.weight, -bound, bound)
        first = linear[0]
        nn.init.uniform_(first.weight, -1 / first.in_features, 1 / first.in_features)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(x))
        return outputs


class Sine(nn.Module):
    """sin(w0 x)."""

    def __init__(self, w0: float) -> None:
        super().__init__()
        self.w0 = w0

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.w0 * x)
