"""Random crops, flips and colour jitter of training images, in one batch on the device."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metaloop.arguments import CountOrZero

Share = Annotated[float, Field(ge=0, le=1)]


class Augmentation:
    """Changes each image by random values that are part of its episode.

    In this order: a shift by up to `crop` pixels, with the border repeated (a random crop of the
    padded image); a mirror image; brightness, contrast and saturation scaled by factors in
    1 - x .. 1 + x (contrast around the image's mean grey, saturation around each pixel's grey).

    Args:
        crop: largest shift in pixels.
        flip: probability of the mirror image.
        brightness, contrast, saturation: largest relative change of each.

    Examples:
        >>> import torch
        >>> from metaloop import Augmentation
        >>> mirror = Augmentation(crop=0, flip=1.0, brightness=0.0, contrast=0.0, saturation=0.0)
        >>> images = torch.tensor([[[[0.0, 0.5, 1.0]]]])  # one row of three grey pixels
        >>> mirror(images, torch.full((1, mirror.numbers), 0.5))
        tensor([[[[1.0000, 0.5000, 0.0000]]]])

    """

    numbers = 6  # random values per image: two shifts, the flip, three colour changes

    def __init__(
        self,
        *,
        crop: CountOrZero,
        flip: Share,
        brightness: Share,
        contrast: Share,
        saturation: Share,
    ) -> None:
        self.crop, self.flip = crop, flip
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation

    @property
    def is_on(self) -> bool:
        """True if it changes anything."""
        return any((self.crop, self.flip, self.brightness, self.contrast, self.saturation))

    def describe(self) -> str:
        """Describe the changes, for a result's protocol."""
        return (
            f"crop {self.crop}, flip {self.flip}, brightness {self.brightness}, "
            f"contrast {self.contrast}, saturation {self.saturation}"
        )

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Augment images in 0..1 by uniform values in (0, 1).

        Shapes:
            images  [B, channels, height, width]   numbers [B, 6]
        """
        numbers = numbers.to(images.dtype)
        images = self._shift_and_flip(images, numbers)
        factors = [
            (1 + size * (2 * numbers[:, 3 + i] - 1))[:, None, None, None]
            for i, size in enumerate((self.brightness, self.contrast, self.saturation))
        ]
        if self.brightness:
            images = (images * factors[0]).clamp(0, 1)
        if self.contrast:
            mean = _grey(images).mean((1, 2, 3), keepdim=True)
            images = (mean + (images - mean) * factors[1]).clamp(0, 1)
        if self.saturation:
            grey = _grey(images)
            images = (grey + (images - grey) * factors[2]).clamp(0, 1)
        return images

    def _shift_and_flip(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Shift and flip in one look-up of each image's rows and columns."""
        if not self.crop and not self.flip:
            return images
        height, width = images.shape[-2:]
        choices = 2 * self.crop + 1
        shift = (numbers[:, :2] * choices).long().clamp(max=choices - 1) - self.crop
        rows = torch.arange(height, device=images.device) + shift[:, :1]
        columns = torch.arange(width, device=images.device) + shift[:, 1:]
        columns = torch.where(numbers[:, 2:3] < self.flip, columns.flip(1), columns)
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        image = torch.arange(len(images), device=images.device)[:, None, None]
        moved = images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
        return moved.permute(0, 3, 1, 2)


def _grey(images: Tensor) -> Tensor:
    """Compute the luma (ITU-R 601) of RGB images; grey images are unchanged."""
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor([0.299, 0.587, 0.114])[:, None, None]
    return (images * weights).sum(1, keepdim=True)
