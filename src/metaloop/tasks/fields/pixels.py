"""An image as examples of a regression: coordinates of its pixels, and their values."""

import math

import torch
from torch import Tensor

from metaloop.episode import Examples


def pixel_grid(height: int, width: int) -> Tensor:
    """Make the coordinates (down, across) of all pixels' centres, row by row, in -1..1.

    The image's edges are at -1 and 1: pixel i of n is centred at (2 i + 1) / n - 1, whatever the
    resolution. float64 [height * width, 2].
    """
    down, across = ((2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1 for n in (height, width))
    return torch.cartesian_prod(down, across)


def to_examples(images: Tensor) -> Examples:
    """Turn images [T, channels, height, width] into examples [T, height * width, ..]."""
    grid = pixel_grid(*images.shape[-2:]).to(images)
    return Examples(grid.expand(len(images), -1, -1), images.flatten(2).transpose(1, 2))


def to_image(values: Tensor) -> Tensor:
    """Turn the values of all pixels of a square image, [pixels, channels], into the image."""
    side = math.isqrt(len(values))
    return values.T.reshape(-1, side, side)


def find_pixels(inputs: Tensor, pixels: int) -> Tensor:
    """Find the numbers, row by row, of the pixels with these coordinates in a square image."""
    side = math.isqrt(pixels)
    down, across = ((inputs + 1) * side / 2).long().clamp(0, side - 1).unbind(1)
    return down * side + across


def is_image(inputs: Tensor) -> bool:
    """Check whether inputs [rows, 2] are the coordinates of all pixels of a square image."""
    side = math.isqrt(len(inputs))
    if side * side != len(inputs):
        return False
    return torch.allclose(inputs, pixel_grid(side, side).to(inputs), rtol=0, atol=0.1 / side)
