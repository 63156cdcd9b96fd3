"""N-way K-shot episodes from any labelled torch Dataset."""

from collections.abc import Sequence
from typing import Literal, Self, Unpack

import torch
from torch import Tensor

from metaloop.arguments import Count, Positive, Seed
from metaloop.errors import UserError
from metaloop.folders.user_path import user_path
from metaloop.tasks.datasets.item_values import Values, to_image, to_numbers
from metaloop.tasks.datasets.labelled_items import DatasetOrMaker, Form, Label, LabelledItems
from metaloop.tasks.images.augmentation import Augmentation
from metaloop.tasks.images.image_classes import ImageClasses
from metaloop.tasks.images.image_store import Storage
from metaloop.tasks.images.uniform_classes import warn_of_uniform
from metaloop.tasks.random_streams import SPLITS, Split
from metaloop.tasks.readers.image_files import ImageFiles, is_grey, read_colour
from metaloop.tasks.readers.visible_files import list_some
from metaloop.tasks.shapes import SizeOptions
from metaloop.tasks.sources.class_splits import Fractions, require_shares, seeded_split
from metaloop.user_text import say

ALONE = "dataset"  # name of a single data set for all three splits
ALIKE = (
    "With task.channels=null all images must be like the first. Set task.channels=3 to convert all "
    "to RGB, 1 to convert all to grey."
)
CLASS_SHARES = [0.64, 0.16, 0.2]
Class = tuple[str, Label]  # name of the data set, and a label in it


class LabelledDataset(ImageClasses):
    """Episodes from one data set, with its classes split by a seed, or from three, one per split.

    An item is (input, label). The input is an image (of Pillow, or bytes [channels, height, width]
    in torch, [height, width, channels] in numpy) or numbers of one shape; the label is an integer
    or a string. Every item is read once, even if its transform is random, and kept decoded.

    Args:
        ways, shots, queries, shape_block, uneven_shots, rotations, augmentation: see ImageClasses;
            the last two are for images.
        dataset: a map-style Dataset, or a callable that creates it when it is needed.
        train, validation, test: three data sets instead of one.
        disjoint: refuse a label that occurs in two of the three; else it is a different class in
            each.
        fractions: shares of one data set's classes for training, validation and test.
        split_seed: seed of that split.
        image_size: height and width to which images are resized; None keeps their size.
        channels: 3 converts all images to RGB, 1 to grey; None keeps them, but all must be alike.
        background, white_level: see ImageFolder.
        values: bytes: images, which a model gets as 0..1; numbers: inputs as they are; None decides
            by the first item.
        input_shape: X; None reads it from the first item.
        classes: maximum number of labels, needed for pretraining on them; None takes the data
            sets' number (their `classes`).
        storage, skip_unusable, cache_dir: see ImageDataset. Images of torchvision's data sets are
            cached in cache_dir, others are kept in memory.

    Examples:
        >>> import numpy as np
        >>> from metaloop import LabelledDataset
        >>> images = [(np.full((8, 8, 3), 4 * i, np.uint8), f"class {i % 10}") for i in range(60)]
        >>> task = LabelledDataset(ways=2, shots=1, dataset=images, fractions=[0.6, 0.2, 0.2])
        >>> task.setup()
        >>> {split: len(classes) for split, classes in task.split_classes.items()}
        {'train': 6, 'validation': 2, 'test': 2}

    """

    def __init__(
        self,
        *,
        queries: Count = 5,
        dataset: DatasetOrMaker | None = None,
        train: DatasetOrMaker | None = None,
        validation: DatasetOrMaker | None = None,
        test: DatasetOrMaker | None = None,
        disjoint: bool = True,
        fractions: Fractions | None = None,
        split_seed: Seed = 0,
        image_size: Count | None = None,
        channels: Literal[1, 3] | None = None,
        background: str | int = "white",
        white_level: Positive | None = None,
        values: Values | None = None,
        input_shape: Sequence[Count] | None = None,
        classes: Count | None = None,
        rotations: bool = False,
        augmentation: Augmentation | None = None,
        storage: Storage = "auto",
        skip_unusable: bool = False,
        cache_dir: str = "~/.cache/metaloop",
        **sizes: Unpack[SizeOptions],
    ) -> None:
        super().__init__(queries=queries, rotations=rotations, augmentation=augmentation, **sizes)
        self.fractions, self.split_seed = require_shares(fractions or CLASS_SHARES), split_seed
        self.disjoint, self.skip_unusable, self.storage = disjoint, skip_unusable, storage
        self.cache_dir, self.image_size = user_path(cache_dir), image_size
        self.alike, self.white_level = ALIKE if channels is None else "", white_level
        self.background = read_colour(background, "task.background")
        self.items = _items(dataset, {"train": train, "validation": validation, "test": test})
        if input_shape is None or values is None:
            form = _first_form(self.items, image_size, channels, values)
            input_shape, values, classes = *form, classes or self.items.count_names()
        self._keep(input_shape, values, classes)
        self._require_fit(channels)

    def _keep(self, input_shape: Sequence[int], values: Values, classes: int | None) -> None:
        self.input_shape, self.values = tuple(input_shape), values
        self.classes = self.count_classes(classes or 0)
        known = {"classes": classes} if classes else {}
        self.found = {"input_shape": list(input_shape), "values": values, **known}

    def prepare(self) -> None:
        self.setup()
        if odd := self.store.odd:
            say(f"Left out {len(odd)} unusable items:{list_some(odd)}")
        if self.values == "bytes":
            warn_of_uniform(self.store)

    def setup(self) -> None:
        if hasattr(self, "store"):
            return  # items in memory are not read again
        form = Form(self.input_shape, self.values, self._files(self.image_size))
        loaded = self.items.load(
            form, self.cache_dir, self.storage, skip_unusable=self.skip_unusable
        )
        found = [(row.part, label) for row, label in zip(loaded.rows, loaded.labels, strict=True)]
        classes = sorted(set(found), key=self._order)
        if self.classes and self.count_classes(len(classes)) > self.classes:
            raise UserError(
                f"The data has {len(classes)} labels, more than task.classes={self.classes}. Set "
                f"task.classes={len(classes)}."
            )
        number = {each: i for i, each in enumerate(classes)}
        members = torch.tensor([number[each] for each in found])
        names = [self.items.class_name(*each) for each in classes]
        store = loaded.store.regrouped(members.argsort(stable=True), members.bincount(), names)
        self.open_images(store, self._split(classes, names), skip_small=self.skip_unusable)

    def to_floats(self, stored: Tensor, dtype: torch.dtype) -> Tensor:
        return super().to_floats(stored, dtype) if self.values == "bytes" else stored.to(dtype)

    def image_files(self) -> ImageFiles:
        _, height, width = self.input_shape
        if self.values == "numbers" or height != width:
            raise UserError(
                f"The run was trained on inputs of shape {list(self.input_shape)} as its data set "
                f"returned them ({self.values}), but image files become square images of bytes. "
                "Adapt in Python (Learner.adapt) to arrays made by the same transform, or train "
                "with a size such as task.image_size=84."
            )
        return self._files(height)

    def scale(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:  # type: ignore[override]
        """Scale bytes to 0..1; numbers must come from the data set's transform."""
        if self.values == "bytes":
            return super().scale(inputs, dtype)
        if inputs.dtype == torch.uint8 and inputs.ndim > 2:
            raise UserError(
                "x contains bytes (uint8), but the run was trained on numbers from its data set's "
                "transform. Pass the transform's result for x."
            )
        return inputs.to(dtype)

    def describe_inputs(self) -> dict[str, object]:
        if self.values == "bytes" and self.input_shape[1] == self.input_shape[2]:
            return super().describe_inputs()
        made = f"Make it like the data set ({self.items.describe()}, with its transform)"
        last = ", and scale bytes 0..255 to 0..1." if self.values == "bytes" else "."
        return {"kind": "numbers", "steps": [made + last]}

    def describe(self) -> dict[str, int | str | bool]:
        seeded = {"split_seed": self.split_seed} if self.items.parts == [ALONE] else {}
        return {**super().describe(), "dataset": self.items.describe(), **seeded}

    def __getstate__(self) -> dict[str, object]:
        """Drop the data sets, which a loader's workers do not need."""
        return {name: value for name, value in vars(self).items() if name != "items"}

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        vars(other).update(vars(self))  # the data sets too
        return other

    def _files(self, size: int | None) -> ImageFiles:
        return ImageFiles(
            size,
            self.input_shape[0],
            alike=self.alike,
            background=self.background,
            white_level=self.white_level,
        )

    def _order(self, each: Class) -> tuple[int, bool, Label]:
        """Sort by split, then by label, integers first."""
        part, label = each
        return self.items.parts.index(part), isinstance(label, str), label

    def _split(self, classes: Sequence[Class], names: Sequence[str]) -> dict[Split, list[int]]:
        """Find the indices of each split's classes."""
        seen: dict[str, Class] = {}
        for each, name in zip(classes, names, strict=True):
            other = seen.setdefault(name, each)
            if other[0] == each[0] and other != each:
                raise UserError(
                    f"The labels {other[1]!r} and {each[1]!r} of task.{each[0]} have the same name "
                    f"'{name}'. Give the data set a target_transform that distinguishes them."
                )
            if other[0] != each[0] and self.disjoint:
                raise UserError(
                    f"The class '{name}' is in task.{other[0]} and in task.{each[0]}. Few-shot "
                    "learning tests on classes that training has not seen: use data sets without "
                    "common labels. If equal labels mean different classes, or the overlap is "
                    "intended, set task.disjoint=false."
                )
        if self.items.parts != [ALONE]:
            parts = [part for part, _ in classes]
            return {split: [i for i, p in enumerate(parts) if p == split] for split in SPLITS}
        number = {name: i for i, name in enumerate(names)}
        split_names = seeded_split(names, self.fractions, self.split_seed)
        return {split: [number[name] for name in split_names[split]] for split in SPLITS}

    def _require_fit(self, channels: int | None) -> None:
        """Refuse image keys if inputs are numbers, and a size that does not fit the shape."""
        size = self.image_size
        for_images = {
            "image_size": size is not None,
            "channels": channels is not None,
            "rotations": self.rotations,
            "augmentation": self.augmentation is not None,
        }
        if self.values == "numbers" and (said := [n for n, is_set in for_images.items() if is_set]):
            raise UserError(
                f"task.{said[0]} is for images of bytes, but the inputs are numbers of shape "
                f"{list(self.input_shape)}. Leave it out, and transform numbers by the data set's "
                "transform."
            )
        if size is not None and self.input_shape[1:] != (size, size):
            raise UserError(
                f"task.image_size={size} does not fit task.input_shape={list(self.input_shape)}. "
                "Set task.input_shape=null to read it from the data."
            )


def _items(alone: DatasetOrMaker | None, three: dict[str, DatasetOrMaker | None]) -> LabelledItems:
    given = {part: each for part, each in three.items() if each is not None}
    if alone is not None and not given:
        return LabelledItems({ALONE: alone})
    if alone is None and len(given) == len(three):
        return LabelledItems(given)
    raise UserError(
        "Give one data set, task.dataset, whose classes are split by task.split_seed, or three: "
        "task.train, task.validation and task.test; for example task.dataset._target_="
        "torchvision.datasets.Flowers102 task.dataset.root=FOLDER."
    )


def _first_form(
    items: LabelledItems, image_size: int | None, channels: int | None, values: Values | None
) -> tuple[list[int], Values]:
    """Determine shape and values from the first item, unless they are given."""
    row, value = items.first_input()
    image = None if values == "numbers" else to_image(value)
    if image is None:
        if values == "bytes":
            raise UserError(f"task.values=bytes, but {row} is not an image of bytes.")
        return list(to_numbers(value, str(row)).shape), "numbers"
    height, width = (image_size, image_size) if image_size else (image.height, image.width)
    return [channels or (1 if is_grey(image) else 3), height, width], "bytes"
