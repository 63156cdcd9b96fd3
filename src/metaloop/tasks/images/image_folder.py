"""A user's own images: one folder a class, split by folders, by a CSV file or by a seeded rule."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from metaloop.arguments import Count, Seed
from metaloop.errors import UserError
from metaloop.tasks.images.augmentation import Augmentation
from metaloop.tasks.images.class_folders import (
    ClassFiles,
    SplitTable,
    list_folders,
    list_images,
    list_split_folders,
)
from metaloop.tasks.images.image_cache import ImageSource
from metaloop.tasks.images.image_dataset import ImageDataset
from metaloop.tasks.images.image_sources import files_source, fingerprint
from metaloop.tasks.images.image_store import Storage
from metaloop.tasks.random_streams import SPLITS
from metaloop.tasks.readers.image_files import ImageFile, ImageFiles, OddImageError, count_channels
from metaloop.tasks.shapes import Size
from metaloop.tasks.sources.class_splits import (
    FOLDERS,
    Classes,
    Fractions,
    require_shares,
    seeded_split,
    split_by_prefix,
)

ALIKE = (
    "task.channels=null wants all as the first image. Set task.channels=3 to make all RGB, 1 to "
    "make all grey."
)


class ImageFolder(ImageDataset):
    """Episodes of images of any format and size in one folder a class.

    Classes may differ in size. Images are upright as their camera says (EXIF), lose transparency,
    and are resized to a square whatever their proportions. Hidden files are not seen.

    Args:
        split: seeded, `fractions` of the classes drawn by `split_seed`; folders, the class folders
            in train/, val/ and test/; or the path of a CSV file, see SplitTable.
        fractions: of the classes for training, validation and test, with split=seeded.
        channels: 3 makes all images RGB, 1 grey; None takes them as they are, all alike.
        (others) see ImageDataset.

    """

    title = "image-folder"
    what_to_put = (
        "Name with task.data_dir a folder that holds one folder of images a class (or train/, "
        "val/ and test/ with those in them, and set task.split=folders)."
    )

    def __init__(
        self,
        *,
        ways: Size,
        shots: Size,
        queries: Count,
        split: str,
        fractions: Fractions,
        split_seed: Seed,
        image_size: Count,
        channels: Literal[1, 3] | None,
        storage: Storage,
        skip_unusable: bool,
        data_dir: str | None,
        cache_dir: str,
        shape_block: Count = 1,
        uneven_shots: bool = False,
        rotations: bool = False,
        augmentation: Augmentation | None = None,
    ) -> None:
        require_shares(fractions)
        self.split_rule, self.fractions, self.split_seed = split, fractions, split_seed
        self.is_strict = channels is None
        self.skip_unusable = skip_unusable
        super().__init__(
            ways=ways,
            shots=shots,
            queries=queries,
            shape_block=shape_block,
            uneven_shots=uneven_shots,
            rotations=rotations,
            augmentation=augmentation,
            image_size=image_size,
            channels=channels or 3,
            storage=storage,
            skip_unusable=skip_unusable,
            data_dir=data_dir,
            cache_dir=cache_dir,
        )
        # names alone are listed here: what the model has to be is known before images are read
        names = list(self._class_names(self.locate()))
        self.classes = self.count_classes(len(names))
        if self.is_strict:
            self.input_shape = (self._first_channels(), image_size, image_size)

    def find_images(self, place: Path) -> ImageSource[ImageFile]:  # type: ignore[override]
        return files_source(
            self._class_files(place), self.input_shape, alike=ALIKE if self.is_strict else ""
        )

    def image_files(self) -> ImageFiles:
        channels, size, _ = self.input_shape
        return ImageFiles(size, channels, alike=ALIKE if self.is_strict else "")

    def split(self, names: Sequence[str]) -> Classes:
        if self.split_rule == "seeded":
            return seeded_split(names, self.fractions, self.split_seed)
        if self.split_rule == "folders":
            return split_by_prefix(names)
        split_of = self._table().split_of
        return {part: [name for name in names if split_of.get(name) == part] for part in SPLITS}

    def describe(self) -> dict[str, int | str | bool]:
        seeded = {"split_seed": self.split_seed} if self.split_rule == "seeded" else {}
        return {**super().describe(), "class_split": self.split_rule, **seeded}

    def _state(self, place: Path) -> str:
        table = fingerprint(self._table().path) if self._is_table else self.split_rule
        return fingerprint(place, self.is_strict, table)

    @property
    def _is_table(self) -> bool:
        return self.split_rule not in ("seeded", "folders")

    def _table(self) -> SplitTable:
        return SplitTable(Path(self.split_rule).expanduser())

    def _folders(self, place: Path) -> dict[str, Path]:
        """Every class's folder, where folders say what is a class."""
        if self.split_rule == "folders":
            return list_split_folders(place)
        folders = {path.name: path for path in list_folders(place)}
        if set(folders) == set(FOLDERS.values()):
            raise UserError(
                f"{place} holds train/, val/ and test/: with task.split=seeded those would be the "
                "classes. Set task.split=folders."
            )
        if not folders:
            raise UserError(f"{place} holds no folder. {self.what_to_put}")
        return folders

    def _class_names(self, place: Path) -> Iterable[str]:
        return self._table().split_of if self._is_table else self._folders(place)

    def _class_files(self, place: Path) -> ClassFiles:
        if self._is_table:
            return self._table().find(place, skip_odd=self.skip_unusable)
        return list_images(self._folders(place), skip_odd=self.skip_unusable)

    def _first_channels(self) -> Literal[1, 3]:
        """How many channels the first image has that says it."""
        files = (
            file for of_class in self._class_files(self.locate()).values() for file in of_class
        )
        for file in files:
            try:
                return count_channels(file)
            except OddImageError:
                if not self.skip_unusable:
                    raise
        raise UserError(f"{self.data_dir} holds no image that can be read. {self.what_to_put}")
