"""The twelve-layer residual network of few-shot learning."""

from collections.abc import Sequence

from torch import Tensor, nn

from metaloop.arguments import Count
from metaloop.models.images import PositionMean, require_images

SLOPE = 0.1  # of the leaky ReLUs for negative inputs


class ResNet12(nn.Module):
    """Residual blocks, one per width, each halving the image; then the mean and a linear head.

    As in TADAM (Oreshkin et al. 2018, arXiv:1805.10123) with the widths of MetaOptNet (Lee et al.
    2019, arXiv:1904.03758): a block is three 3x3 convolutions with batch norm and leaky ReLU 0.1,
    a 1x1 convolution as shortcut, and 2x2 max-pooling after the sum. MetaOptNet's DropBlock is
    left out: it would use a different mask in each inner step. Convolutions are initialised by
    He's rule for their outputs, as in that code.

    Args:
        input_shape: (channels, height, width), 16 x 16 or more for four blocks.
        output_size: the ways.
        widths: channels of the blocks.

    Raises:
        UserError: if inputs are not images, or too small to halve once per block.

    Shapes:
        x [rows, channels, height, width]; the result [rows, output_size]

    Examples:
        >>> import torch
        >>> from metaloop import ResNet12
        >>> network = ResNet12((3, 16, 16), output_size=5, widths=[2, 2, 4, 4])
        >>> network(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 5])

    """

    def __init__(
        self, input_shape: tuple[int, ...], output_size: Count, *, widths: Sequence[Count]
    ) -> None:
        super().__init__()
        channels = require_images("ResNet12", input_shape, smallest=2 ** len(widths))
        sizes = zip([channels, *widths], widths, strict=False)
        blocks = [ResidualBlock(inputs, outputs) for inputs, outputs in sizes]
        self.body = nn.Sequential(*blocks, PositionMean())
        self.head = nn.Linear(widths[-1], output_size)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=SLOPE, mode="fan_out")
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(x))
        return outputs


class ResidualBlock(nn.Module):
    """max_pool(leaky_relu(three convolutions of x + one 1x1 convolution of x))."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, size in enumerate((inputs, outputs, outputs)):
            layers += [nn.LeakyReLU(SLOPE)] if number else []
            layers += [nn.Conv2d(size, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
        self.residual = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.finish = nn.Sequential(nn.LeakyReLU(SLOPE), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.finish(self.residual(x) + self.shortcut(x))
        return outputs
