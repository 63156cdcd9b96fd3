"""Multilayer perceptron."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metaloop.arguments import Count, CountOrZero, Positive
from metaloop.models.vectors import require_real


class MLP(nn.Module):
    """Flatten, hidden layers with ReLU (optionally batch norm before it), a linear head.

    Finn et al. 2017 (arXiv:1703.03400), section 5.1 and appendix A.1.

    Args:
        input_size: elements of one input.
        output_size: elements of one output.
        hidden: widths of the hidden layers.
        batch_norm: normalise before every ReLU, as the paper's Omniglot network does.
        init_std: if given, initialise weights from a normal distribution of this deviation,
            truncated at two deviations, and biases with zero (Finn: 0.01); None keeps torch's
            initialisation.
        context_size: number of context parameters, initially zero, that are concatenated to every
            input (CAVIA: Zintgraf et al. 2019, arXiv:1810.03642).
        vocabulary_size: the task's vocabulary; tokens are refused.

    Raises:
        UserError: if the task's inputs are tokens.

    Shapes:
        x [rows, *X]; the result [rows, output_size]

    Examples:
        >>> import torch
        >>> from metaloop import MLP
        >>> network = MLP(input_size=1, output_size=1, hidden=[40, 40])
        >>> network(torch.zeros(10, 1)).shape, sum(p.numel() for p in network.parameters())
        (torch.Size([10, 1]), 1761)

    """

    def __init__(
        self,
        input_size: Count,
        output_size: Count,
        *,
        hidden: Sequence[Count],
        batch_norm: bool = False,
        init_std: Positive | None = None,
        context_size: CountOrZero = 0,
        vocabulary_size: CountOrZero = 0,
    ) -> None:
        super().__init__()
        require_real("MLP", vocabulary_size)
        layers: list[nn.Module] = [nn.Flatten()]
        if context_size:
            self.context = nn.Parameter(torch.zeros(context_size))
            input_size += context_size
        for inputs, outputs in zip([input_size, *hidden], hidden, strict=False):
            # a bias before batch norm has no effect: its gradient is rounding noise
            layers.append(nn.Linear(inputs, outputs, bias=not batch_norm))
            layers += [nn.BatchNorm1d(outputs)] if batch_norm else []
            layers.append(nn.ReLU())
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear([input_size, *hidden][-1], output_size)
        if init_std is not None:
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    _initialise(layer, init_std)

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "context"):
            context = self.context.to(x.dtype).expand(len(x), -1)
            x = torch.cat([x.flatten(1), context], 1)
        outputs: Tensor = self.head(self.body(x))
        return outputs


def _initialise(layer: nn.Linear, std: float) -> None:
    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
