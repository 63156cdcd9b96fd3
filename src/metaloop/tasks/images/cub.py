"""CUB-200-2011: photographs of birds.

For non-commercial research and education; the photographs belong to their owners.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from metaloop.errors import UserError
from metaloop.tasks.images.class_folders import list_folders, list_images
from metaloop.tasks.images.image_cache import ImageSource
from metaloop.tasks.images.image_dataset import DownloadedImages
from metaloop.tasks.images.image_sources import files_source
from metaloop.tasks.random_streams import Split
from metaloop.tasks.sources.class_splits import Classes

ARCHIVE = "CUB_200_2011.tgz"
CLASSES = 200


class CUB(DownloadedImages):
    """Episodes of CUB-200-2011 (Wah et al. 2011): 11,788 photographs of 200 species of birds.

    Split 100/50/50 by the rule of Chen et al. 2019 (arXiv:1904.04232,
    github.com/wyharveychen/CloserLookFewShot): in alphabetical order, every second class is for
    training, and the others alternate between validation and test.

    Args:
        data_dir: CUB_200_2011.tgz, or a folder with the archive or its content; None downloads.
        (others) see ImageDataset.

    Examples:
        >>> from metaloop import CUB
        >>> task = CUB(
        ...     ways=5, shots=1, queries=15, image_size=84, channels=3, storage="auto",
        ...     skip_unusable=False, data_dir="birds", cache_dir="cache",
        ...     source_url="https://data.caltech.edu/records/65de6-vp158/files",
        ... )
        >>> task.input_shape, task.output_size, task.classes, task.split_sizes
        ((3, 84, 84), 5, 200, {'train': 100, 'validation': 50, 'test': 50})

    """

    title = "cub"
    split_sizes: Mapping[Split, int] = {"train": 100, "validation": 50, "test": 50}
    images_a_class = 60
    archives: Mapping[str, str] = {ARCHIVE: "97eceeb196236b17998738112f37df78"}
    what_to_put = (
        f"Put {ARCHIVE} from data.caltech.edu/records/65de6-vp158, packed or unpacked (folder "
        "CUB_200_2011 with images/), into a folder, and set task.data_dir to it."
    )

    def find_images(self, place: Path) -> ImageSource[object]:
        candidates = (place / "CUB_200_2011" / "images", place / "images", place)
        folder = next(path for path in candidates if path.is_dir())
        classes = {path.name: path for path in list_folders(folder)}
        if len(classes) != CLASSES:
            raise UserError(
                f"{folder} has {len(classes)} class folders, but CUB has {CLASSES}. "
                f"{self.what_to_put}"
            )
        files = list_images(classes)
        return cast(ImageSource[object], files_source(files, self.image_files()))

    def split(self, names: Sequence[str]) -> Classes:
        ordered = sorted(names)
        return {"train": ordered[::2], "validation": ordered[1::4], "test": ordered[3::4]}
