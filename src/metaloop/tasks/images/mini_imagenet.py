"""miniImageNet, and what it has in common with tieredImageNet.

ImageNet's images may only be used for non-commercial research
and must not be redistributed, so there is no source to download from.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from metaloop.errors import UserError
from metaloop.tasks.images.class_folders import (
    ClassFiles,
    holds_splits,
    list_images,
    list_split_folders,
)
from metaloop.tasks.images.image_cache import ImageSource
from metaloop.tasks.images.image_dataset import ImageDataset
from metaloop.tasks.images.image_sources import files_source
from metaloop.tasks.random_streams import Split
from metaloop.tasks.readers.image_files import ImageFile, Pixels, fit_to_shape
from metaloop.tasks.readers.table_files import read_table
from metaloop.tasks.sources.class_splits import FOLDERS, Classes, split_by_prefix
from metaloop.tasks.sources.safe_pickle import as_numbers, as_text, read_pickle

PICKLES = {folder: f"mini-imagenet-cache-{folder}.pkl" for folder in FOLDERS.values()}


class SplitImageNet(ImageDataset):
    """A published part of ImageNet, split by the files themselves.

    Checks the number of classes in each split, but not which classes they are.
    """

    def split(self, names: Sequence[str]) -> Classes:
        split = split_by_prefix(names)
        found = {part: len(classes) for part, classes in split.items()}
        if any(found[part] != self.split_sizes[part] for part in self.splits):
            sizes, those = ("/".join(map(str, s.values())) for s in (self.split_sizes, found))
            raise UserError(
                f"The published split has {sizes} classes for training, validation and test, but "
                f"{self.data_dir} has {those}. {self.what_to_put}"
            )
        return split


class MiniImageNet(SplitImageNet):
    """Episodes of miniImageNet, 600 images of each of 100 classes, from any of three layouts.

    From an idea of Vinyals et al. 2016 (arXiv:1606.04080), with the commonly used classes and
    64/16/20 split of Ravi and Larochelle (2017).

    Args:
        data_dir: a folder with train/, val/ and test/, each with a folder per class; or with
            images/ and Ravi and Larochelle's train.csv, val.csv and test.csv (filename,label); or
            with the common pickles mini-imagenet-cache-train.pkl and so on, which are read without
            executing their content.
        (others) see ImageDataset.

    Examples:
        >>> from metaloop import MiniImageNet
        >>> task = MiniImageNet(
        ...     ways=5, shots=1, queries=15, image_size=84, channels=3, storage="auto",
        ...     skip_unusable=False, data_dir="mini-imagenet", cache_dir="cache",
        ... )
        >>> task.input_shape, task.output_size, task.classes, task.split_sizes
        ((3, 84, 84), 5, 100, {'train': 64, 'validation': 16, 'test': 20})

    """

    title = "mini-imagenet"
    split_sizes: Mapping[Split, int] = {"train": 64, "validation": 16, "test": 20}
    images_a_class = 600
    what_to_put = (
        "miniImageNet consists of ImageNet's images, which must not be redistributed. Put into one "
        "folder either train/, val/ and test/ with a folder of images per class; or images/ with "
        "train.csv, val.csv and test.csv from github.com/twitter/meta-learning-lstm "
        "(data/miniImagenet); or mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl; and set "
        "task.data_dir to it."
    )

    def find_images(self, place: Path) -> ImageSource[object]:
        if (place / PICKLES["train"]).is_file():
            return cast(ImageSource[object], self._pickled(place))
        if (place / "train.csv").is_file():
            files = self._listed(place)
        elif holds_splits(place):
            files = list_images(list_split_folders(place, self.splits))
        else:
            raise UserError(f"{place} is not miniImageNet. {self.what_to_put}")
        return cast(ImageSource[object], files_source(files, self.image_files()))

    def _listed(self, place: Path) -> ClassFiles:
        """Find the images listed in the three CSV files."""
        found: ClassFiles = {}
        for folder in FOLDERS.values():
            table = read_table(self._required(place / f"{folder}.csv"))
            if not {"filename", "label"} <= set(table.columns):
                raise UserError(
                    f"{table.path} lacks the columns filename,label. {self.what_to_put}"
                )
            pairs = zip(table.texts("filename"), table.labels("label"), strict=True)
            for row, (name, label) in enumerate(pairs, 1):
                image = place / "images" / name
                if not image.is_file():
                    raise UserError(
                        f"{table.path}, row {row} lists the file '{name}', but there is no "
                        f"{image}. Add it, or correct the list."
                    )
                found.setdefault(f"{folder}/{label}", []).append(ImageFile(None, str(image)))
        return dict(sorted(found.items()))

    def _pickled(self, place: Path) -> ImageSource[tuple[str, int]]:
        """Read the three pickles {image_data: [n, 84, 84, 3], class_dict: name: rows}."""
        images: dict[str, Pixels] = {}
        classes: dict[str, list[tuple[str, int]]] = {}
        for folder, name in PICKLES.items():
            path = self._required(place / name)
            content = read_pickle(path, self.what_to_put)
            data, rows = content.get("image_data"), content.get("class_dict")
            is_right = isinstance(data, np.ndarray) and isinstance(rows, dict)
            if not is_right or cast(Pixels, data).ndim != 4 or cast(Pixels, data).dtype != np.uint8:
                raise UserError(
                    f"{path} should contain image_data [n, 84, 84, 3] of bytes and class_dict, not "
                    f"{', '.join(content)}. {self.what_to_put}"
                )
            images[folder] = cast(Pixels, data)
            for label, listed in cast(dict[object, object], rows).items():
                numbers = as_numbers(listed)
                if numbers is None or max(numbers, default=0) >= len(images[folder]):
                    named = (
                        "something other than images"
                        if numbers is None
                        else f"image {max(numbers)}"
                    )
                    raise UserError(
                        f"{path}: class_dict lists {named} for '{as_text(label)}', but image_data "
                        f"has {len(images[folder])}. {self.what_to_put}"
                    )
                classes[f"{folder}/{as_text(label)}"] = [(folder, i) for i in numbers]
        return ImageSource(
            dict(sorted(classes.items())),
            lambda item: fit_to_shape(images[item[0]][item[1]], self.input_shape),
            self.input_shape,
        )

    def _required(self, path: Path) -> Path:
        if not path.is_file():
            raise UserError(f"{path} is missing. {self.what_to_put}")
        return path
