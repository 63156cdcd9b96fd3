"""Omniglot (Lake et al. 2015): 1,623 handwritten characters of 50 alphabets, 20 drawings each.

MIT licence, github.com/brendenlake/omniglot.
"""

import random
from pathlib import Path

import torch
from torch import Tensor

from metaloop.arguments import Count, Seed
from metaloop.tasks.dice import Split
from metaloop.tasks.download import download
from metaloop.tasks.image_cache import Images, load_or_build
from metaloop.tasks.image_classes import ImageClasses, check_episode
from metaloop.tasks.omniglot_files import (
    DRAWINGS,
    SIZE,
    WHAT_TO_PUT,
    class_names,
    decode,
    find_drawings,
    fingerprint,
)

OFFICIAL = {
    "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
}
SPLIT_SIZES: dict[Split, int] = {"train": 1100, "validation": 100, "test": 423}


class Omniglot(ImageClasses):
    """N-way K-shot episodes of Omniglot characters, 28 x 28, white on black.

    The split is Finn's (2017): 1,100 characters to train on, 100 to validate, 423 to test, by
    the rule of `split_classes`.

    Args:
        ways, shots, queries, rotations: see ImageClasses.
        split_seed: seeds the division of the characters.
        data_dir: a folder with the drawings, zipped as distributed or unpacked; None downloads.
        cache_dir: where downloads and the decoded images are kept.
        source_url: where the two official archives lie.

    """

    input_shape = (1, SIZE, SIZE)
    is_inverted = True  # drawn black on white

    def __init__(
        self,
        *,
        ways: Count,
        shots: Count,
        queries: Count,
        rotations: bool,
        split_seed: Seed,
        data_dir: str | None,
        cache_dir: str,
        source_url: str,
    ) -> None:
        super().__init__(ways=ways, shots=shots, queries=queries, rotations=rotations)
        for split, classes in SPLIT_SIZES.items():
            check_episode(self, split, classes=classes, images=DRAWINGS)
        self.classes = self.count_classes(sum(SPLIT_SIZES.values()))
        self.split_seed = split_seed
        self.cache_dir = Path(cache_dir).expanduser()
        self.data_dir = None if data_dir is None else Path(data_dir).expanduser()
        self.source_url = source_url

    def prepare(self) -> None:
        self._images()

    def setup(self) -> None:
        self.open_images(self._images(), split_classes(self.split_seed))

    def class_name(self, class_id: int) -> str:
        """Alphabet, number of the character, and by how many degrees it is rotated."""
        original, turns = divmod(class_id, 4) if self.rotations else (class_id, 0)
        name = class_names()[original].replace("/character", " ")
        return f"{name} r{90 * turns}" if turns else name

    def describe(self) -> dict[str, int | str | bool]:
        return {**super().describe(), "split_seed": self.split_seed}

    def _images(self) -> Images:
        folder = self.data_dir or self._downloaded()
        cache = self.cache_dir / f"omniglot-{SIZE}-{fingerprint(folder)}.npz"
        return load_or_build(cache, lambda: decode(find_drawings(folder)))

    def _downloaded(self) -> Path:
        folder = self.cache_dir / "omniglot"
        for name, md5 in OFFICIAL.items():
            download(f"{self.source_url}/{name}", folder / name, md5=md5, advice=WHAT_TO_PUT)
        return folder


def split_classes(split_seed: int) -> dict[Split, Tensor]:
    """Divide the 1,623 characters, Finn's way (maml/data_generator.py).

    All classes "Alphabet/characterNN" in alphabetical order, shuffled by
    `random.Random(split_seed).shuffle`; the first 1,100 train, the next 100 validation, the
    remaining 423 test. (Finn shuffles a directory listing, whose order was his disk's.)
    """
    order = list(range(len(class_names())))
    random.Random(split_seed).shuffle(order)
    parts = torch.split(torch.tensor(order), list(SPLIT_SIZES.values()))
    return dict(zip(SPLIT_SIZES, parts, strict=True))
