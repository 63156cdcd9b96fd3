"""CIFAR-FS and FC100: the 100 classes x 600 images of CIFAR-100, 32 x 32 RGB, split by classes.

CIFAR-100 (Krizhevsky 2009, cs.toronto.edu/~kriz/cifar.html) states no licence; its authors ask to
be cited. The training and test images of its original split are merged.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, cast

import numpy as np

from metaloop.errors import UserError
from metaloop.tasks.images.image_cache import ImageSource
from metaloop.tasks.images.image_dataset import DownloadedImages
from metaloop.tasks.random_streams import Split
from metaloop.tasks.readers.image_files import Pixels, fit_to_shape
from metaloop.tasks.sources.class_splits import Classes, published_split
from metaloop.tasks.sources.safe_pickle import as_numbers, as_text, read_pickle

ARCHIVE = "cifar-100-python.tar.gz"
FOLDER = "cifar-100-python"
IMAGES = 600
WHAT_TO_PUT = (
    f"Put {ARCHIVE} from cs.toronto.edu/~kriz/cifar.html, packed or unpacked (files train, test, "
    "meta), into a folder, and set task.data_dir to it."
)


class Cifar100Classes(DownloadedImages):
    """Episodes of CIFAR-100's classes; a subclass names the published split.

    Args:
        data_dir: the archive, or a folder with the archive or its content; None downloads.
        (others) see ImageDataset.

    """

    title = "cifar-100"  # both subclasses share one cache
    what_to_put = WHAT_TO_PUT
    images_a_class = IMAGES
    archives: Mapping[str, str] = {ARCHIVE: "eb9058c3a382ffc7106e4002c42a8d85"}
    split_file: ClassVar[str]

    def find_images(self, place: Path) -> ImageSource[int]:  # type: ignore[override]
        folder = place / FOLDER if (place / FOLDER).is_dir() else place
        images, labels, names = read_cifar100(folder)
        # a stable sort keeps the files' order within a class
        order = np.argsort(labels, kind="stable")
        bounds = np.searchsorted(labels[order], np.arange(len(names) + 1)).tolist()
        of_class = {n: order[bounds[c] : bounds[c + 1]].tolist() for c, n in enumerate(names)}
        return ImageSource(
            dict(sorted(of_class.items())),
            lambda row: fit_to_shape(images[row], self.input_shape),
            self.input_shape,
        )

    def split(self, names: Sequence[str]) -> Classes:
        return published_split(self.split_file)


class CifarFS(Cifar100Classes):
    """CIFAR-FS, random 64/16/20 classes (Bertinetto et al. 2019, arXiv:1805.08136).

    Examples:
        >>> from metaloop import CifarFS
        >>> task = CifarFS(
        ...     ways=5, shots=1, queries=15, image_size=32, channels=3, storage="auto",
        ...     skip_unusable=False, data_dir="cifar-100", cache_dir="cache",
        ...     source_url="https://www.cs.toronto.edu/~kriz",
        ... )
        >>> task.input_shape, task.output_size, task.classes, task.split_sizes
        ((3, 32, 32), 5, 100, {'train': 64, 'validation': 16, 'test': 20})

    """

    split_file = "cifar_fs"
    split_sizes: Mapping[Split, int] = {"train": 64, "validation": 16, "test": 20}


class FC100(Cifar100Classes):
    """FC100, 60/20/20 classes of 12/4/4 superclasses (Oreshkin et al. 2018, arXiv:1805.10123).

    Examples:
        >>> from metaloop import FC100
        >>> task = FC100(
        ...     ways=5, shots=1, queries=15, image_size=32, channels=3, storage="auto",
        ...     skip_unusable=False, data_dir="cifar-100", cache_dir="cache",
        ...     source_url="https://www.cs.toronto.edu/~kriz",
        ... )
        >>> task.input_shape, task.output_size, task.classes, task.split_sizes
        ((3, 32, 32), 5, 100, {'train': 60, 'validation': 20, 'test': 20})

    """

    split_file = "fc100"
    split_sizes: Mapping[Split, int] = {"train": 60, "validation": 20, "test": 20}


def read_cifar100(
    folder: Path,
) -> tuple[Pixels, np.ndarray[tuple[int], np.dtype[np.int64]], list[str]]:
    """Read the official files: images [60000, 32, 32, 3], their labels, the labels' names.

    Raises:
        UserError: if a file is missing, damaged, malicious, or has other content.

    """
    for name in ("train", "test", "meta"):
        if not (folder / name).is_file():
            raise UserError(f"{folder} is not CIFAR-100: it lacks the file {name}. {WHAT_TO_PUT}")
    data, labels = [], []
    for name in ("train", "test"):
        content = read_pickle(folder / name, WHAT_TO_PUT)
        pixels, fine = content.get("data"), as_numbers(content.get("fine_labels"))
        is_right = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and fine is not None
        if not is_right or cast(Pixels, pixels).shape != (len(cast(list[int], fine)), 3072):
            raise UserError(
                f"{folder / name} is not a part of CIFAR-100: it should contain 'data' [n, 3072] "
                f"of bytes and n 'fine_labels', not {', '.join(content)}. {WHAT_TO_PUT}"
            )
        data.append(cast(Pixels, pixels))
        labels += cast(list[int], fine)
    meta = read_pickle(folder / "meta", WHAT_TO_PUT)
    listed = meta.get("fine_label_names")
    names = [as_text(name) for name in listed] if isinstance(listed, list) else []
    if max(labels, default=0) >= len(names):
        raise UserError(f"{folder / 'meta'} does not name all labels. {WHAT_TO_PUT}")
    images = np.concatenate(data).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, np.array(labels), names
