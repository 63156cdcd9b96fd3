"""tieredImageNet.

ImageNet's images may
only be used for non-commercial research and must not be redistributed, so there is no download.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from metaloop.errors import UserError
from metaloop.tasks.images.class_folders import holds_splits, list_images, list_split_folders
from metaloop.tasks.images.image_cache import ImageSource
from metaloop.tasks.images.image_sources import files_source
from metaloop.tasks.images.mini_imagenet import SplitImageNet
from metaloop.tasks.random_streams import Split
from metaloop.tasks.readers.image_files import OddImageError, Pixels, fit_to_shape, reason
from metaloop.tasks.sources.class_splits import FOLDERS
from metaloop.tasks.sources.safe_npz import read_npz
from metaloop.tasks.sources.safe_pickle import as_numbers, as_text, read_pickle, read_pickled_list


class TieredImageNet(SplitImageNet):
    """Episodes of tieredImageNet, 608 classes of ImageNet, from either of two layouts.

    Ren et al. 2018 (arXiv:1803.00676), github.com/renmengye/few-shot-ssl-public. Split 351/97/160
    by supercategories.

    Args:
        data_dir: a folder with train/, val/ and test/, each with a folder per class; or with the
            authors' train_labels.pkl and train_images_png.pkl (or train_images.npz), and likewise
            for val and test. The npz files are read into memory while the cache is built, about
            13 GB. The pickles' content is not executed.
        (others) see ImageDataset.

    Examples:
        >>> from metaloop import TieredImageNet
        >>> task = TieredImageNet(
        ...     ways=5, shots=1, queries=15, image_size=84, channels=3, storage="auto",
        ...     skip_unusable=False, data_dir="tiered-imagenet", cache_dir="cache",
        ... )
        >>> task.input_shape, task.output_size, task.classes, task.split_sizes
        ((3, 84, 84), 5, 608, {'train': 351, 'validation': 97, 'test': 160})

    """

    title = "tiered-imagenet"
    split_sizes: Mapping[Split, int] = {"train": 351, "validation": 97, "test": 160}
    images_a_class = 1300
    what_to_put = (
        "tieredImageNet consists of ImageNet's images, which must not be redistributed. Put into "
        "one folder either train/, val/ and test/ with a folder of images per class; or the files "
        "train_labels.pkl and train_images_png.pkl (or train_images.npz), and likewise for val and "
        "test, from github.com/renmengye/few-shot-ssl-public; and set task.data_dir to it."
    )

    def find_images(self, place: Path) -> ImageSource[object]:
        if (place / "train_labels.pkl").is_file():
            return cast(ImageSource[object], self._pickled(place))
        if not holds_splits(place):
            raise UserError(f"{place} is not tieredImageNet. {self.what_to_put}")
        files = list_images(list_split_folders(place, self.splits))
        return cast(ImageSource[object], files_source(files, self.image_files()))

    def _pickled(self, place: Path) -> ImageSource[tuple[str, int]]:
        images: dict[str, Sequence[Pixels]] = {}
        classes: dict[str, list[tuple[str, int]]] = {}
        for folder in FOLDERS.values():
            path = place / f"{folder}_labels.pkl"
            if not path.is_file():
                raise UserError(f"{path} is missing. {self.what_to_put}")
            content = read_pickle(path, self.what_to_put)
            labels, names = (content.get(f"label_specific{end}") for end in ("", "_str"))
            images[folder] = self._images(place, folder)
            numbers = as_numbers(labels)
            texts = [as_text(name) for name in names] if isinstance(names, list) else []
            if (
                numbers is None
                or len(numbers) != len(images[folder])
                or max(numbers, default=0) >= len(texts)
            ):
                raise UserError(
                    f"{path} should contain label_specific, one for each of the "
                    f"{len(images[folder])} images, and label_specific_str with their names, not "
                    f"{', '.join(content)}. {self.what_to_put}"
                )
            for row, label in enumerate(numbers):
                # with the label's number in the split, since descriptions repeat
                name = f"{folder}/{texts[label]} ({folder} {label})"
                classes.setdefault(name, []).append((folder, row))
        return ImageSource(
            dict(sorted(classes.items())),
            lambda item: self._read(place, *item, images[item[0]][item[1]]),
            self.input_shape,
        )

    def _images(self, place: Path, folder: str) -> Sequence[Pixels]:
        """Load a split's images: each the bytes of a PNG file, or decoded [84, 84, 3]."""
        packed, whole = place / f"{folder}_images_png.pkl", place / f"{folder}_images.npz"
        if packed.is_file():
            return read_pickled_list(packed, self.what_to_put)
        if not whole.is_file():
            raise UserError(f"{packed} is missing, and so is {whole.name}. {self.what_to_put}")
        found = read_npz(whole, f"Download it again. {self.what_to_put}").get("images")
        if found is None or found.dtype != np.uint8 or found.ndim != 4:
            raise UserError(
                f"{whole} should contain images [n, 84, 84, 3] of bytes. {self.what_to_put}"
            )
        return cast(Sequence[Pixels], found)

    def _read(self, place: Path, folder: str, row: int, image: Pixels) -> Pixels:
        if image.ndim == 3:
            return fit_to_shape(image[:, :, ::-1], self.input_shape)  # OpenCV's order, blue first
        try:
            with Image.open(io.BytesIO(image.tobytes())) as png:
                return fit_to_shape(np.asarray(png.convert("RGB")), self.input_shape)
        except Exception as error:
            raise OddImageError(
                f"{place / folder}_images_png.pkl: image {row} is not a readable PNG "
                f"({reason(error)})."
            ) from error
