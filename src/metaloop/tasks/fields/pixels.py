"""Convert between an image and examples of a regression from pixel coordinates to values."""

import math

import torch
from torch import Tensor

from metaloop.episode import Examples


def pixel_grid(height: int, width: int) -> Tensor:
    """Make the coordinates (down, across) of all pixel centres, row by row, in -1..1.

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
    """Turn the pixel values of a square image, [pixels, channels], into [channels, side, side]."""
    side = math.isqrt(len(values))
    return values.T.reshape(-1, side, side)


def find_pixels(inputs: Tensor, pixels: int) -> Tensor:
    """Find the indices of pixels in a square image, row by row, by their coordinates [rows, 2]."""
    side = math.isqrt(pixels)
    down, across = ((inputs + 1) * side / 2).long().clamp(0, side - 1).unbind(1)
    return down * side + across


def is_image(inputs: Tensor) -> bool:
    """Check whether inputs [rows, 2] are the coordinates of all pixels of a square image."""
    side = math.isqrt(len(inputs))
    if side * side != len(inputs):
        return False
    return torch.allclose(inputs, pixel_grid(side, side).to(inputs), rtol=0, atol=0.1 / side)
