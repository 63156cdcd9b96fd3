"""A user's own images: one folder a class, split by folders, by a CSV file or by a seeded rule."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Unpack

from metaloop.arguments import Count, Positive, Seed
from metaloop.errors import UserError
from metaloop.folders.user_path import user_path
from metaloop.tasks.images.class_folders import (
    ClassFiles,
    SplitTable,
    list_folders,
    list_images,
    list_split_folders,
)
from metaloop.tasks.images.image_cache import ImageSource
from metaloop.tasks.images.image_dataset import ImageDataset, SourceOptions
from metaloop.tasks.images.image_sources import files_source, fingerprint
from metaloop.tasks.random_streams import SPLITS
from metaloop.tasks.readers.image_files import (
    ImageFile,
    ImageFiles,
    OddImageError,
    count_channels,
    read_colour,
)
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
    "make all grey; where a run has read it, task.alike=false."
)


class ImageFolder(ImageDataset):
    """Episodes of images of any format and size in one folder a class.

    Classes may differ in size; how an image is read is said in ImageFiles. Hidden files are not
    seen.

    Args:
        split: seeded, `fractions` of the classes drawn by `split_seed`; folders, the class folders
            in train/, val/ and test/; or the path of a CSV file, see SplitTable.
        fractions: of the classes for training, validation and test, with split=seeded.
        channels: 3 makes all images RGB, 1 grey; None reads it from the first image.
        alike: whether images of other channels are refused rather than converted; None: where
            channels is None.
        classes: how many class folders there are; None reads it from the data.
        background: the colour behind what is transparent, see `read_colour`.
        white_level: the value that is white in images of more than 8 bits, see ImageFiles.
        skip_unusable: see ImageOptions.
        (others) see SourceOptions.

    """

    title = "image-folder"
    what_to_put = (
        "Name with task.data_dir a folder that holds one folder of images a class (or train/, "
        "val/ and test/ with those in them, and set task.split=folders)."
    )

    def __init__(
        self,
        *,
        split: str,
        fractions: Fractions,
        split_seed: Seed,
        channels: Literal[1, 3] | None,
        skip_unusable: bool,
        alike: bool | None = None,
        classes: Count | None = None,
        background: str | int = "white",
        white_level: Positive | None = None,
        **options: Unpack[SourceOptions],
    ) -> None:
        require_shares(fractions)
        self.split_rule, self.fractions, self.split_seed = split, fractions, split_seed
        self.alike = channels is None if alike is None else alike
        self.advice = ALIKE if self.alike else ""
        self.skip_unusable = skip_unusable
        self.background = read_colour(background, "task.background")
        self.white_level = white_level
        super().__init__(channels=channels or 3, skip_unusable=skip_unusable, **options)
        self._find(channels, classes)

    def _find(self, channels: Literal[1, 3] | None, classes: int | None) -> None:
        """Read what the config leaves open: at most names and a header, before images are read."""
        if classes is None:
            classes = len(list(self._class_names(self.locate())))
        if channels is None:
            channels = self._first_channels()
        self.classes = self.count_classes(classes)
        self.input_shape = (channels, *self.input_shape[1:])
        self.found = {"channels": channels, "alike": self.alike, "classes": classes}

    def require_data(self) -> None:
        super().require_data()
        if self.split_rule == "folders":
            list_split_folders(self.own_copy(), self.splits)
        self._class_names(self.own_copy())

    def find_images(self, place: Path) -> ImageSource[ImageFile]:  # type: ignore[override]
        return files_source(self._class_files(place), self.image_files())

    def image_files(self) -> ImageFiles:
        channels, size, _ = self.input_shape
        return ImageFiles(
            size,
            channels,
            alike=self.advice,
            background=self.background,
            white_level=self.white_level,
        )

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
        classes = self._class_files(place)
        paths = [Path(file.name) for files in classes.values() for file in files]
        sizes = {name: len(files) for name, files in classes.items()}
        return fingerprint(paths, sizes, *self.image_files().rules)

    @property
    def _is_table(self) -> bool:
        return self.split_rule not in ("seeded", "folders")

    def _table(self) -> SplitTable:
        return SplitTable(user_path(self.split_rule))

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
            return self._table().find(place)
        return list_images(self._folders(place))

    def _first_channels(self) -> Literal[1, 3]:
        """How many channels the first image has that can be read."""
        files = (
            file for of_class in self._class_files(self.locate()).values() for file in of_class
        )
        for file in files:
            with suppress(OddImageError):  # which is named, with all others, when images are read
                return count_channels(file)
        raise UserError(f"{self.data_dir} holds no image that can be read. {self.what_to_put}")
