"""N-way K-shot episodes of images in one store of uint8 pixels."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, NotRequired

import torch
from torch import Tensor

from metaloop.arguments import Count
from metaloop.episode import Episode
from metaloop.errors import UserError
from metaloop.tasks.disjoint import Deal, deal_examples
from metaloop.tasks.images.augmentation import Augmentation
from metaloop.tasks.images.image_store import ImageStore
from metaloop.tasks.kinds import ClassificationTask
from metaloop.tasks.random_streams import RandomStreams, Split
from metaloop.tasks.readers.image_files import ImageFiles
from metaloop.tasks.shapes import Shapes, Size, SizeOptions


class DrawnImages(NamedTuple):
    """A meta-batch as indices, as it travels from the loader's workers to the device.

    Shapes:
        images       [T, N, K+Q]     rows of the image store, support images first; K: most shots
        rotations    [T, N]          quarter turns of each class's images
        augmentation [T, N, K+Q, P]  random values in (0, 1) for the augmentation of each image;
                                     P = 0 without augmentation
        classes      [T, N]          global class ids; position n is label n
        shots        [T, N]          support images of each class
    """

    images: Tensor
    rotations: Tensor
    augmentation: Tensor
    classes: Tensor
    shots: Tensor


class EpisodeOptions(SizeOptions):
    """Options that data sets pass on to ImageClasses, which documents them."""

    queries: Count
    rotations: NotRequired[bool]
    augmentation: NotRequired[Augmentation | None]


class ImageClasses(ClassificationTask):
    """Draws `ways` classes with `shots + queries` images each; a subclass provides the images.

    With `rotations`, a class turned by 90, 180 or 270 degrees is another class (Santoro et al.
    2016); the classes of one episode are turns of different originals. Global class id:
    4 * original + quarter turns with rotations, else the original.

    Args:
        ways: N, classes per episode, or the range from which it is drawn.
        shots: K, support images per class, or the range from which it is drawn.
        queries: Q, query images per class.
        shape_block, uneven_shots: see Shapes.
        rotations: whether turned classes count as classes, in every split.
        augmentation: random changes of the train split's images.

    Examples:
        >>> import numpy as np
        >>> import torch
        >>> from metaloop import ImageClasses, RandomStreams, store_arrays
        >>> class Greys(ImageClasses):
        ...     input_shape = (1, 8, 8)
        ...     def setup(self):
        ...         images = [np.full((3, 1, 8, 8), 20 * c, np.uint8) for c in range(9)]
        ...         splits = {"train": range(3), "validation": range(3, 6), "test": range(6, 9)}
        ...         self.open_images(store_arrays(images), splits)
        >>> task = Greys(ways=2, shots=1, queries=2)
        >>> task.setup()
        >>> drawn = task.draw("train", RandomStreams(0, "train", torch.arange(4)))
        >>> task.gather(drawn, torch.float32).query.inputs.shape
        torch.Size([4, 4, 1, 8, 8])

    """

    is_inverted: ClassVar[bool] = False  # images are the negatives of their files
    store: ImageStore
    split_classes: dict[Split, Tensor]  # original classes of each split in use

    def __init__(
        self,
        *,
        ways: Size,
        shots: Size,
        queries: Count,
        shape_block: Count = 1,
        uneven_shots: bool = False,
        rotations: bool = False,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.shapes = Shapes(ways=ways, shots=shots, block=shape_block, uneven=uneven_shots)
        self.queries, self.rotations = queries, rotations
        is_changed = augmentation is not None and augmentation.is_on
        self.augmentation = augmentation if is_changed else None
        self.output_size = self.shapes.ways.most

    def count_classes(self, originals: int) -> int:
        """Count the global class ids that this many original classes give."""
        return 4 * originals if self.rotations else originals

    def open_images(
        self,
        store: ImageStore,
        splits: Mapping[Split, Sequence[int]],
        *,
        skip_small: bool = False,
    ) -> None:
        """Set the images, and the classes of each split in use.

        Classes with fewer images than an episode needs are refused or left out.
        """
        self.store = store
        names, counts = store.names, store.counts.tolist()
        self.split_classes = {
            split: torch.tensor(
                usable_classes(self, split, names, counts, splits[split], skip_small)
            )
            for split in self.splits
        }

    def draw(self, split: Split, streams: RandomStreams) -> DrawnImages:  # type: ignore[override]
        originals, shots = self.split_classes[split], self.shapes.of(streams)
        ways, needed = len(shots), max(shots) + self.queries
        picked, members = streams.pick(self.store.counts[originals], groups=ways, members=needed)
        chosen = originals[picked]
        rows = self.store.find(chosen, members)
        turns = torch.zeros_like(chosen)
        if self.rotations:
            turns = streams.integers(ways, high=4)
        classes = 4 * chosen + turns if self.rotations else chosen
        numbers = torch.empty(*rows.shape, 0)
        if self.augmentation is not None and split == "train":
            numbers = streams.uniform(ways, needed, self.augmentation.numbers).float()
        return DrawnImages(rows, turns, numbers, classes, torch.tensor(shots).expand_as(classes))

    def deal(self, seed: int, split: Split, indices: Tensor) -> Deal:
        ways, shots = self.shapes.largest(RandomStreams(seed, split, indices))
        sizes = self.store.counts[self.split_classes[split]]
        return deal_examples(sizes, ways, shots + self.queries, seed, split, indices)

    def origins(self, drawn: DrawnImages) -> dict[str, Tensor]:  # type: ignore[override]
        return self.shapes.origins(drawn.images, drawn.classes, drawn.shots, self.queries)

    def gather(self, drawn: DrawnImages, dtype: torch.dtype) -> Episode:  # type: ignore[override]
        images = self.to_floats(self.gather_pixels(drawn), dtype)
        if self.augmentation is not None and drawn.augmentation.shape[-1]:
            changed = self.augmentation(images.flatten(0, 2), drawn.augmentation.flatten(0, 2))
            images = changed.view_as(images)
        return Episode(*self.shapes.to_sets(images, drawn.shots, self.queries), drawn.classes)

    def to_floats(self, stored: Tensor, dtype: torch.dtype) -> Tensor:
        """Convert stored images to a model's inputs: bytes to 0..1."""
        return stored.to(dtype).div_(255)

    def gather_pixels(self, drawn: DrawnImages) -> Tensor:
        """Gather the drawn images, turned, [T, N, K+Q, channels, height, width] uint8."""
        if not self.rotations:
            return self.store.gather(drawn.images)
        turns = drawn.rotations[..., None].expand(drawn.images.shape)
        return self.store.gather(drawn.images, turns)

    def image_files(self) -> ImageFiles:
        channels, size, _ = self.input_shape
        return ImageFiles(size, channels, is_inverted=self.is_inverted)

    def scale(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:  # type: ignore[override]
        """Scale bytes 0..255 to 0..1; floats must already be in 0..1."""
        if inputs.dtype == torch.uint8:
            return inputs.to(dtype) / 255
        if not inputs.is_floating_point():
            raise UserError(
                f"Images must be bytes 0..255 (uint8) or floats 0..1, not {inputs.dtype}. Convert "
                "them: images.astype('uint8')."
            )
        if inputs.numel() and not (inputs.min() >= 0 and inputs.max() <= 1):
            raise UserError(
                f"Images as floats must be in 0..1, but these are in {float(inputs.min()):g} .. "
                f"{float(inputs.max()):g}. Divide them by 255, or pass them as uint8."
            )
        return inputs.to(dtype)

    def class_name(self, class_id: int) -> str:
        """Return the class's name in the data, and the degrees by which it is turned."""
        name, degrees = self._original(class_id)
        return f"{name} r{degrees}" if degrees else name

    def class_title(self, class_id: int) -> str:
        name, degrees = self._original(class_id)
        return f"{name}, rotated {degrees}\N{DEGREE SIGN}" if degrees else name

    def original_name(self, original: int) -> str:
        """Name an original class."""
        return self.store.names[original]

    def _original(self, class_id: int) -> tuple[str, int]:
        original, turns = divmod(class_id, 4) if self.rotations else (class_id, 0)
        return self.original_name(original), 90 * turns

    def describe(self) -> dict[str, int | str | bool]:
        described: dict[str, int | str | bool] = {
            **self.shapes.describe(),
            "queries": self.queries,
            "rotations": self.rotations,
        }
        if self.augmentation is not None:
            described["augmentation"] = self.augmentation.describe()
        return described


def check_episode(task: ImageClasses, split: Split, *, classes: int, images: int) -> None:
    """Refuse an episode for which a split has too few classes or images.

    Raises:
        UserError: if there are too few classes or images.

    """
    ways, needed = _most(task)
    if classes < ways or images < needed:
        raise UserError(
            f"{_needs(task)}, but the {split} split has {classes} "
            f"classes with {images} each. Lower task.ways, task.shots or task.queries."
        )


def usable_classes(
    task: ImageClasses,
    split: Split,
    names: Sequence[str],
    counts: Sequence[int],
    classes: Sequence[int],
    skip_small: bool,
) -> list[int]:
    """List the classes of a split that have enough images for an episode.

    Raises:
        UserError: if there are too few, or some are too small and `skip_small` is false.

    """
    ways, needed = _most(task)
    sizes = {c: counts[c] for c in classes}
    if len(set(sizes.values())) == 1:
        check_episode(task, split, classes=len(sizes), images=next(iter(sizes.values())))
    usable = [c for c, size in sizes.items() if size >= needed]
    small = sorted((size, c) for c, size in sizes.items() if size < needed)
    named = f"'{names[small[0][1]]}' has only {small[0][0]}" if small else ""
    if len(usable) < ways:
        raise UserError(
            f"{_needs(task)}, but the {split} split has {len(usable)}"
            f"{f': {named}' if small else ''}. {_remedy(task)}"
        )
    if small and not skip_small:
        raise UserError(
            f"An episode needs {needed} images per class (shots={task.shapes.shots.most} + "
            f"queries={task.queries}), but {len(small)} of the {split} split's {len(sizes)} "
            f"classes have fewer: {named}. Add images, lower task.shots or task.queries, or "
            "leave out such classes with task.skip_unusable=true."
        )
    return usable


def _needs(task: ImageClasses) -> str:
    ways, needed = _most(task)
    if not task.shapes.has_classes:
        return "A task needs an image"
    return (
        f"A {ways}-way episode needs {ways} classes with {needed} images each "
        f"(shots={task.shapes.shots.most} + queries={task.queries})"
    )


def _remedy(task: ImageClasses) -> str:
    if not task.shapes.has_classes:
        return "Add images, or split them in another way."
    return "Lower task.ways, task.shots or task.queries, or add images."


def _most(task: ImageClasses) -> tuple[int, int]:
    """Return the most classes of an episode, and the most images of one of them."""
    return task.shapes.ways.most, task.shapes.shots.most + task.queries
