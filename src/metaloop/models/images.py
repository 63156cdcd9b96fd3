"""Parts shared by the networks for images: the check of their input, and the final mean."""

from torch import Tensor, nn

from metaloop.errors import UserError


def require_images(model: str, input_shape: tuple[int, ...], *, smallest: int = 1) -> int:
    """Return the number of channels of inputs (channels, height, width).

    Raises:
        UserError: if the inputs are not images, or smaller than `smallest` pixels a side.

    """
    if len(input_shape) != 3:
        raise UserError(
            f"{model} needs images (channels, height, width), but the task's inputs have the "
            f"shape {input_shape}. Choose model=mlp, or a task of images."
        )
    channels, height, width = input_shape
    if min(height, width) < smallest:
        raise UserError(
            f"{model} halves images block by block and needs {smallest} x {smallest} or more, "
            f"not {height} x {width}. Choose model=conv4 with model.downsample=stride, or larger "
            "images."
        )
    return channels


class PositionMean(nn.Module):
    """Average [rows, channels, height, width] over the positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))
