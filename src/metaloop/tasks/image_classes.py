"""N-way K-shot episodes over images that sit in memory once, as uint8."""

from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metaloop.arguments import Count
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.tasks.dice import SPLITS, Dice, Split
from metaloop.tasks.task import ClassificationTask


class DrawnImages(NamedTuple):
    """A meta-batch as indices: what travels from the loader's workers to the device.

    Shapes:
        images    [T, N, K+Q]  rows of the image store, the support's first
        rotations [T, N]       quarter turns of each class's images
        classes   [T, N]       global class ids; position n is label n
    """

    images: Tensor
    rotations: Tensor
    classes: Tensor


class ImageClasses(ClassificationTask):
    """Draws ways classes and shots + queries images of each; a subclass brings the images.

    With `rotations` a class may also appear turned by 90, 180 or 270 degrees, each turn a class
    of its own (Santoro et al. 2016); the classes of one episode are turns of different
    originals. Global class id: 4 * original + quarter turns with rotations, else the original.

    Args:
        ways: N, classes in an episode.
        shots: K, support images a class.
        queries: Q, query images a class.
        rotations: whether turned classes are classes too, in every split.

    """

    is_inverted: ClassVar[bool] = False  # images are the negatives of their files
    images: Tensor  # [C, M, channels, height, width] uint8, every class with M images
    split_classes: dict[Split, Tensor]  # the originals of each split

    def __init__(self, *, ways: Count, shots: Count, queries: Count, rotations: bool) -> None:
        self.ways, self.shots, self.queries, self.rotations = ways, shots, queries, rotations
        self.output_size = ways

    def count_classes(self, originals: int) -> int:
        """How many global class ids so many originals make."""
        return 4 * originals if self.rotations else originals

    def open_images(
        self, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], splits: dict[Split, Tensor]
    ) -> None:
        """Take the images, [C, M, channels, height, width] uint8, and each split's classes."""
        self.images = torch.from_numpy(images)
        self.split_classes = splits
        for split in SPLITS:
            check_episode(self, split, classes=len(splits[split]), images=images.shape[1])

    def draw(self, split: Split, dice: Dice) -> DrawnImages:  # type: ignore[override]
        originals = self.split_classes[split]
        chosen = originals[dice.choose(count=self.ways, population=len(originals))]
        size = self.images.shape[1]
        members = dice.choose(self.ways, count=self.shots + self.queries, population=size)
        rows = chosen[..., None] * size + members
        if not self.rotations:
            return DrawnImages(rows, torch.zeros_like(chosen), chosen)
        turns = dice.integers(self.ways, high=4)
        return DrawnImages(rows, turns, 4 * chosen + turns)

    def gather(self, drawn: DrawnImages, dtype: torch.dtype) -> Episode:  # type: ignore[override]
        if self.images.device != drawn.images.device:
            self.images = self.images.to(drawn.images.device)  # once: then it lives there
        images = self.images.flatten(0, 1)[drawn.images]
        if self.rotations:
            images = _rotate(images, drawn.rotations)
        images = self.scale(images, dtype)
        labels = torch.arange(self.ways, device=images.device)[:, None]
        labels = labels.expand(len(images), self.ways, images.shape[2])
        support, query = (
            Examples(images[:, :, part].flatten(1, 2), labels[:, :, part].flatten(1, 2))
            for part in (slice(None, self.shots), slice(self.shots, None))
        )
        return Episode(support, query, drawn.classes)

    def scale(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Bytes 0..255 become 0..1; floats have to be there already."""
        if inputs.dtype == torch.uint8:
            return inputs.to(dtype) / 255
        if not inputs.is_floating_point():
            raise UserError(
                f"Images are bytes 0..255 (uint8) or floats 0..1, not {inputs.dtype}. Convert "
                "them: images.astype('uint8')."
            )
        if inputs.numel() and not (inputs.min() >= 0 and inputs.max() <= 1):
            raise UserError(
                f"Images as floats are in 0..1, but these go from {float(inputs.min()):g} to "
                f"{float(inputs.max()):g}. Divide them by 255, or pass them as uint8."
            )
        return inputs.to(dtype)

    def describe(self) -> dict[str, int | str | bool]:
        return {
            "ways": self.ways,
            "shots": self.shots,
            "queries": self.queries,
            "rotations": self.rotations,
        }


def _rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Turn each class's images counter-clockwise; images [T, N, M, C, H, W], turns [T, N]."""
    turns = turns[:, :, None, None, None, None]
    result = images
    for quarter in (1, 2, 3):
        result = torch.where(turns == quarter, torch.rot90(images, quarter, (-2, -1)), result)
    return result


def check_episode(task: ImageClasses, split: Split, *, classes: int, images: int) -> None:
    """Refuse an episode that a split with so many classes of so many images cannot make.

    Raises:
        UserError: too few classes or images.

    """
    needed = task.shots + task.queries
    if classes < task.ways or images < needed:
        raise UserError(
            f"A {task.ways}-way episode needs {task.ways} classes with {needed} images each "
            f"(shots={task.shots} + queries={task.queries}), but the {split} split has {classes} "
            f"classes with {images} each. Lower task.ways, task.shots or task.queries."
        )
