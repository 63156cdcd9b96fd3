"""Fields of made-up images whose pixels name image and place."""

import numpy as np
import torch

from metaloop.episode import Episode
from metaloop.tasks import ImageClasses, ImageField, RandomStreams, store_arrays

SPLIT = {"train": range(3), "validation": range(3, 5), "test": range(5, 8)}
IMAGES = 2  # of each class


class Images(ImageClasses):
    """Eight classes of two grey images, and their sizes."""

    def __init__(self, pixels: np.ndarray, **sizes) -> None:
        super().__init__(**{"ways": 2, "shots": 1, "queries": 1, **sizes})
        self.input_shape = pixels.shape[2:]
        self.open_images(store_arrays(list(pixels)), SPLIT)

    def prepare(self) -> None:
        """They are there."""


def numbered(side: int = 2) -> np.ndarray:
    """Pixel p of image m of class c is 100 m + 10 c + p."""
    pixels = np.arange(side * side, dtype=np.uint8).reshape(1, 1, 1, side, side)
    classes, members = np.arange(8, dtype=np.uint8), np.arange(IMAGES, dtype=np.uint8)
    return pixels + 10 * classes[:, None, None, None, None] + 100 * members[:, None, None, None]


def waves(side: int = 4) -> np.ndarray:
    """A wave along one axis, of another frequency for each image."""
    x = np.linspace(0, 3, side)
    values = np.sin(np.arange(1, 17).reshape(8, 2, 1, 1, 1) * x)
    return (127 + 100 * values.repeat(side, axis=3)).astype(np.uint8)


def field(pixels: np.ndarray, **options) -> ImageField:
    return ImageField(of=Images(pixels), **options)


def episodes(task: ImageField, split: str = "train", count: int = 40) -> Episode:
    drawn = task.draw(split, RandomStreams(0, split, torch.arange(count)))
    return task.gather(drawn, torch.float64)
