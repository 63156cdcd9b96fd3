"""miniImageNet: 100 classes of ImageNet with 600 images each, 84 x 84 RGB.

Vinyals et al. 2016 (arXiv:1606.04080) had the idea; the classes and their split 64/16/20 that all
use are Ravi and Larochelle's (2017). ImageNet's images may be used for non-commercial research
only and not be passed on, so there is no source to download from.
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
    """A published part of ImageNet, which the files divide: the split is what they say.

    The number of classes in each split is checked; which they are is not.
    """

    def split(self, names: Sequence[str]) -> Classes:
        split = split_by_prefix(names)
        found = {part: len(classes) for part, classes in split.items()}
        if any(found[part] != self.split_sizes[part] for part in self.splits):
            sizes, those = ("/".join(map(str, s.values())) for s in (self.split_sizes, found))
            raise UserError(
                f"The published split has {sizes} classes to train, validate and test on, and "
                f"{self.data_dir} has {those}. {self.what_to_put}"
            )
        return split


class MiniImageNet(SplitImageNet):
    """Episodes of miniImageNet, in any of three layouts.

    Args:
        data_dir: a folder with train/, val/ and test/, each with a folder a class; or with images/
            and Ravi and Larochelle's train.csv, val.csv and test.csv (filename,label); or with the
            pickles mini-imagenet-cache-train.pkl, .. that circulate, which are read without
            executing anything in them.
        (others) see ImageOptions.

    """

    title = "mini-imagenet"
    split_sizes: Mapping[Split, int] = {"train": 64, "validation": 16, "test": 20}
    images_a_class = 600
    what_to_put = (
        "miniImageNet is made of ImageNet's images, which may not be passed on. Put into one "
        "folder either train/, val/ and test/ with a folder of images a class; or images/ with "
        "train.csv, val.csv and test.csv of github.com/twitter/meta-learning-lstm "
        "(data/miniImagenet); or mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl; and name "
        "it with task.data_dir."
    )

    def find_images(self, place: Path) -> ImageSource[object]:
        if (place / PICKLES["train"]).is_file():
            return cast(ImageSource[object], self._pickled(place))
        if (place / "train.csv").is_file():
            files = self._listed(place)
        elif holds_splits(place):
            files = list_images(list_split_folders(place, self.splits))
        else:
            raise UserError(f"{place} holds no miniImageNet. {self.what_to_put}")
        return cast(ImageSource[object], files_source(files, self.image_files()))

    def _listed(self, place: Path) -> ClassFiles:
        """The images that the three lists name."""
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
                        f"{table.path}, row {row} names the file '{name}', but there is no "
                        f"{image}. Add it, or correct the list."
                    )
                found.setdefault(f"{folder}/{label}", []).append(ImageFile(None, str(image)))
        return dict(sorted(found.items()))

    def _pickled(self, place: Path) -> ImageSource[tuple[str, int]]:
        """The images of the three pickles {image_data: [n, 84, 84, 3], class_dict: name: rows}."""
        images: dict[str, Pixels] = {}
        classes: dict[str, list[tuple[str, int]]] = {}
        for folder, name in PICKLES.items():
            path = self._required(place / name)
            content = read_pickle(path, self.what_to_put)
            data, rows = content.get("image_data"), content.get("class_dict")
            is_right = isinstance(data, np.ndarray) and isinstance(rows, dict)
            if not is_right or cast(Pixels, data).ndim != 4 or cast(Pixels, data).dtype != np.uint8:
                raise UserError(
                    f"{path} should hold image_data [n, 84, 84, 3] of bytes and class_dict, and "
                    f"holds {', '.join(content)}. {self.what_to_put}"
                )
            images[folder] = cast(Pixels, data)
            for label, listed in cast(dict[object, object], rows).items():
                numbers = as_numbers(listed)
                if numbers is None or max(numbers, default=0) >= len(images[folder]):
                    named = "no list of images" if numbers is None else f"image {max(numbers)}"
                    raise UserError(
                        f"{path}: class_dict names {named} for '{as_text(label)}', and image_data "
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
