"""Wide residual networks."""

from torch import Tensor, nn

from metaloop.arguments import Count
from metaloop.errors import UserError
from metaloop.models.images import PositionMean, require_images

STEM = 16  # channels of the first convolution
GROUPS = 3  # groups of blocks; the second and the third halve the image


class WideResNet(nn.Module):
    """WRN-depth-width: three groups of pre-activated residual blocks, the mean, a linear head.

    Zagoruyko and Komodakis 2016 (arXiv:1605.07146), table 1: a 3x3 convolution of 16 channels, then
    three groups of n blocks with 16, 32 and 64 times `width` channels, where depth = 6 n + 4. A
    block is twice norm, ReLU and 3x3 convolution. WRN-28-10 is the large network of few-shot
    learning (Rusu et al. 2019, arXiv:1807.05960). No dropout, the paper's default. Convolutions are
    initialised by He's rule.

    Args:
        input_shape: (channels, height, width), of any size.
        output_size: the ways.
        depth: number of layers: 10, 16, 22, 28 ..
        width: factor of the channels.

    Raises:
        UserError: if inputs are not images, or there is no such depth.

    Shapes:
        x [rows, channels, height, width]; the result [rows, output_size]

    Examples:
        >>> import torch
        >>> from metaloop import WideResNet
        >>> network = WideResNet((3, 8, 8), output_size=5, depth=10, width=1)
        >>> network(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 5])

    """

    def __init__(
        self, input_shape: tuple[int, ...], output_size: Count, *, depth: Count, width: Count
    ) -> None:
        super().__init__()
        blocks_per_group, rest = divmod(depth - 4, 2 * GROUPS)
        if blocks_per_group < 1 or rest:
            raise UserError(
                f"A wide residual network has 6 n + 4 layers (10, 16, 22, 28 ..), not {depth}. "
                "Change model.depth."
            )
        channels = require_images("WideResNet", input_shape)
        layers: list[nn.Module] = [nn.Conv2d(channels, STEM, 3, padding=1, bias=False)]
        inputs = STEM
        for group in range(GROUPS):
            outputs = 2**group * STEM * width
            for block in range(blocks_per_group):
                stride = 2 if group and not block else 1
                layers.append(WideBlock(inputs, outputs, stride))
                inputs = outputs
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(inputs), nn.ReLU(), PositionMean())
        self.head = nn.Linear(inputs, output_size)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(x))
        return outputs


class WideBlock(nn.Module):
    """Two pre-activated 3x3 convolutions of x, added to x or to a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        is_same = inputs == outputs and stride == 1
        self.shortcut = None if is_same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.activate(x)
        # where the shape changes, the shortcut starts after the activation, as in the paper's code
        around = x if self.shortcut is None else self.shortcut(activated)
        outputs: Tensor = self.residual(activated) + around
        return outputs
