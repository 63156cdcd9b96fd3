"""Sampling of images at given positions, since torch's grid_sample has no forward mode."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.substitutes.precision import full_precision

A = -0.75  # slope of the cubic at 1 (Keys 1981), as in torch
Tap = tuple[Tensor, Tensor | float]  # an integer coordinate and its weight


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Interpolate input at positions of grid, -1..1 in x, y (and z): Jaderberg et al. 2015.

    Shapes: input [N, C, *S], grid [N, *P, dimensions], samples [N, C, *P].
    """
    sizes = input.shape[2:]
    if mode not in ("bilinear", "nearest", "bicubic") or (mode == "bicubic" and len(sizes) != 2):
        raise UserError(f"grid_sample in {len(sizes)} dimensions has no mode '{mode}'.")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise UserError(f"padding_mode must be zeros, border or reflection, not '{padding_mode}'.")
    positions = full_precision(grid)
    taps = [
        _taps(positions[..., -1 - d], size, mode, padding_mode, bool(align_corners))
        for d, size in enumerate(sizes)  # grid has x first, sizes have it last
    ]
    pixels = full_precision(input).flatten(2)
    total = pixels.new_zeros(())
    for corner in itertools.product(*taps):
        inside = torch.ones_like(positions[..., 0], dtype=torch.bool)
        index = torch.zeros_like(inside, dtype=torch.long)
        weight = torch.ones_like(positions[..., 0])
        for (coordinate, share), size in zip(corner, sizes, strict=True):
            inside = inside & (coordinate >= 0) & (coordinate < size)
            index = index * size + coordinate.detach().clamp(0, size - 1).long()
            weight = weight * share
        flat = index.flatten(1).unsqueeze(1)
        values = pixels.gather(2, flat.expand(-1, pixels.shape[1], -1))
        values = values.reshape(*pixels.shape[:2], *grid.shape[1:-1])
        total = total + values * torch.where(inside, weight, 0.0).unsqueeze(1)
    return total.to(input.dtype)


def _taps(position: Tensor, size: int, mode: str, padding: str, align_corners: bool) -> list[Tap]:
    """Find the pixels along one dimension that make up a sample, with their weights."""
    x = (position + 1) / 2 * (size - 1) if align_corners else ((position + 1) * size - 1) / 2
    if mode == "bicubic":
        t = x - x.detach().floor()
        weights = [_far(t + 1), _near(t), _near(1 - t), _far(2 - t)]
        whole = [x.detach().floor() + k for k in (-1, 0, 1, 2)]
        return [
            (_pad(k, size, padding, align_corners).round(), w)
            for k, w in zip(whole, weights, strict=True)
        ]
    x = _pad(x, size, padding, align_corners)
    if mode == "nearest":
        return [(x.detach().round(), 1.0)]
    low = x.detach().floor()
    return [(low, low + 1 - x), (low + 1, x - low)]


def _pad(x: Tensor, size: int, padding: str, align_corners: bool) -> Tensor:
    """Move a coordinate into the image; with zero padding it may stay outside."""
    if padding == "zeros":
        return x
    if padding == "reflection":
        low, span = (0.0, size - 1) if align_corners else (-0.5, size)
        if span == 0:
            return torch.zeros_like(x)
        distance = (x - low).abs()
        turns = torch.floor(distance.detach() / span)
        rest = distance - turns * span
        x = low + torch.where(turns % 2 == 0, rest, span - rest)
    return x.clamp(0, size - 1)


def _near(t: Tensor) -> Tensor:
    """Evaluate Keys' cubic at distances 0..1."""
    return ((A + 2) * t - (A + 3)) * t * t + 1


def _far(t: Tensor) -> Tensor:
    """Evaluate Keys' cubic at distances 1..2."""
    return ((A * t - 5 * A) * t + 8 * A) * t - 4 * A


FORWARD: dict[Callable[..., object], Callable[..., object]] = {F.grid_sample: grid_sample}
