"""The four-block convolutional network of few-shot learning."""

from typing import Literal

import torch
from torch import Tensor, nn

from metaloop.arguments import Count, CountOrZero
from metaloop.errors import UserError
from metaloop.models.images import PositionMean, require_images


class Conv4(nn.Module):
    """Four blocks of 3x3 convolution, batch norm and ReLU, then a linear head.

    The network of Vinyals et al. 2016 (arXiv:1606.04080), in the two versions of Finn et al. 2017
    (arXiv:1703.03400), section 5.2: `stride` halves the image in the convolutions
    and averages over the remaining positions (Omniglot, 64 filters); `max_pool` halves it by 2x2
    pooling and flattens (miniImageNet, 32 filters). Glorot initialisation, zero biases. The
    convolutions have no bias, since batch statistics would cancel it.

    Args:
        input_shape: (channels, height, width).
        output_size: the ways.
        filters: channels of every block.
        downsample: the operation that halves the image.
        context_size: number of context parameters, initially zero, that scale and shift the
            channels of the third block (CAVIA: Zintgraf et al. 2019, arXiv:1810.03642, appendix).

    Raises:
        UserError: if inputs are not images, or too small to halve four times by pooling.

    Shapes:
        x [rows, channels, height, width]; the result [rows, output_size]

    Examples:
        >>> import torch
        >>> from metaloop import Conv4
        >>> network = Conv4((1, 28, 28), output_size=5, filters=4, downsample="stride")
        >>> network(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 5])

    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        output_size: Count,
        *,
        filters: Count,
        downsample: Literal["stride", "max_pool"],
        context_size: CountOrZero = 0,
    ) -> None:
        super().__init__()
        channels = require_images("Conv4", input_shape)
        _, height, width = input_shape
        strided = downsample == "stride"
        if not strided and min(height, width) < 16:
            raise UserError(
                f"Four max-pooling layers need images of 16 x 16 or more, not {height} x {width}. "
                "Set model.downsample=stride."
            )
        blocks = [_block(n, filters, strided) for n in (channels, filters, filters, filters)]
        if context_size:
            blocks[2].insert(2, ContextScale(context_size, filters))
        self.body = nn.Sequential(*blocks, PositionMean() if strided else nn.Flatten())
        positions = 1 if strided else (height // 16) * (width // 16)
        self.head = nn.Linear(filters * positions, output_size)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(x))
        return outputs


class ContextScale(nn.Module):
    """x * (1 + scale) + shift, both linear in the context, one pair per channel."""

    def __init__(self, context_size: int, channels: int) -> None:
        super().__init__()
        self.context = nn.Parameter(torch.zeros(context_size))
        self.generate = nn.Linear(context_size, 2 * channels)
        nn.init.zeros_(self.generate.bias)

    def forward(self, x: Tensor) -> Tensor:
        generated: Tensor = self.generate(self.context)
        scale, shift = generated[:, None, None].chunk(2)
        return x * (1 + scale) + shift


def _block(inputs: int, outputs: int, strided: bool) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2 if strided else 1, padding=1, bias=False)
    pool = nn.Identity() if strided else nn.MaxPool2d(2)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), pool, nn.ReLU())
