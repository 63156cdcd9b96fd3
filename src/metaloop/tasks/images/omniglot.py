"""Omniglot: handwritten characters.

MIT licence, github.com/brendenlake/omniglot.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Unpack

from metaloop.arguments import Seed
from metaloop.tasks.images.image_cache import ImageSource
from metaloop.tasks.images.image_dataset import DownloadedImages, SourceOptions
from metaloop.tasks.images.image_sources import files_source
from metaloop.tasks.images.omniglot_files import (
    DRAWINGS,
    WHAT_TO_PUT,
    find_drawings,
    shuffled_split,
    vinyals_split,
)
from metaloop.tasks.random_streams import Split
from metaloop.tasks.readers.image_files import ImageFile, ImageFiles, Resample

SPLITS_BY_NAME: dict[str, dict[Split, int]] = {
    "finn2017": {"train": 1100, "validation": 100, "test": 423},
    "vinyals2016": {"train": 1028, "validation": 172, "test": 423},
}


class Omniglot(DownloadedImages):
    """N-way K-shot episodes of Omniglot characters, white on black.

    Lake et al. 2015: 1,623 characters from 50 alphabets, 20 drawings each.

    Args:
        split: finn2017: 1,100 characters for training, 100 for validation, 423 for test, by
            `shuffled_split`; or vinyals2016: 1,028/172/423 by published lists.
        split_seed: seed of the finn2017 split.
        resample: lanczos: drawings are converted to grey and resized smoothly; nearest: in black
            and white, as Pillow resizes one-bit images whatever the filter, which many papers' code
            relied on.
        data_dir: a folder with the drawings, zipped as distributed or unpacked; None downloads.
        (others) see ImageDataset.

    Examples:
        >>> from metaloop import Omniglot
        >>> task = Omniglot(
        ...     ways=20, shots=1, queries=5, rotations=True, split="finn2017", split_seed=1,
        ...     image_size=28, storage="auto", data_dir="omniglot", cache_dir="cache",
        ...     source_url="https://raw.githubusercontent.com/brendenlake/omniglot/master/python",
        ... )
        >>> task.input_shape, task.output_size, task.classes  # 4 turns of 1,623 characters
        ((1, 28, 28), 20, 6492)

    """

    title = "omniglot"
    what_to_put = WHAT_TO_PUT
    images_a_class = DRAWINGS
    archives: Mapping[str, str] = {
        "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
        "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
    }
    is_inverted = True  # drawn black on white

    def __init__(
        self,
        *,
        split: Literal["finn2017", "vinyals2016"],
        split_seed: Seed,
        source_url: str,
        resample: Resample = "lanczos",
        **options: Unpack[SourceOptions],
    ) -> None:
        self.split_name, self.split_seed = split, split_seed
        self.resample: Resample = resample
        self.split_sizes = SPLITS_BY_NAME[split]
        # the data set is fixed: an incomplete copy must be downloaded again
        super().__init__(channels=1, skip_unusable=False, source_url=source_url, **options)

    def find_images(self, place: Path) -> ImageSource[ImageFile]:  # type: ignore[override]
        return files_source(find_drawings(place), self.image_files())

    def image_files(self) -> ImageFiles:
        files = super().image_files()
        files.resample = self.resample
        return files

    def split(self, names: Sequence[str]) -> dict[Split, list[str]]:
        if self.split_name == "vinyals2016":
            return vinyals_split()
        return shuffled_split(self.split_sizes, self.split_seed)

    def original_name(self, original: int) -> str:
        return super().original_name(original).replace("/character", " ")

    def describe(self) -> dict[str, int | str | bool]:
        seeded = {"split_seed": self.split_seed} if self.split_name == "finn2017" else {}
        return {
            **super().describe(),
            "class_split": self.split_name,
            **seeded,
            "resample": self.resample,
        }

    def _tars_in(self, folder: Path) -> list[Path]:
        return []  # zip archives are read without unpacking
