"""A user's images: one folder per class, split by folders, by a CSV file or by a seed."""

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
    list_single_images,
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

SEEDED = ("seeded", "images")
ALIKE = (
    "With task.channels=null all images must be like the first. Set task.channels=3 to convert all "
    "to RGB, 1 to convert all to grey; if a run has inferred the channels, set task.alike=false."
)


class ImageFolder(ImageDataset):
    """Episodes of images of any format and size, in one folder per class.

    Classes may differ in size. Hidden files are ignored.

    Args:
        split: seeded: `fractions` of the classes, drawn by `split_seed`; images: the same, but each
            image in the folder and those below it is a class of its own, for fields; folders: the
            class folders in train/, val/ and test/; or the path of a CSV file with the columns
            class,split or filename,label,split.
        fractions: shares of the classes for training, validation and test, with split=seeded or
            images.
        channels: 3 converts all images to RGB, 1 to grey; None takes it from the first image.
        alike: whether images with other channels are refused rather than converted; None: only if
            channels is None.
        classes: number of class folders; None counts them.
        background: colour behind transparent pixels: a name such as white, "#rrggbb", or a grey
            value 0..255.
        white_level: value of white in images of more than 8 bits; None: by their format.
        (others) see ImageDataset.

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from metaloop import ImageFolder
        >>> for name in ("ant", "bee", "cat", "dog", "elk", "fox"):
        ...     Path("animals", name).mkdir(parents=True)
        ...     Image.new("RGB", (8, 8)).save(f"animals/{name}/one.png")
        >>> task = ImageFolder(
        ...     ways=2, shots=1, queries=5, split="seeded", fractions=[0.4, 0.3, 0.3], split_seed=0,
        ...     image_size=8, channels=None, storage="auto", skip_unusable=False,
        ...     data_dir="animals", cache_dir="cache",
        ... )
        >>> task.input_shape, task.found
        ((3, 8, 8), {'channels': 3, 'alike': True, 'classes': 6})

    """

    title = "image-folder"
    what_to_put = (
        "Set task.data_dir to a folder with one folder of images per class (or with train/, val/ "
        "and test/ that contain those, together with task.split=folders)."
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
        """Infer what the config leaves open, from folder names and the header of one image."""
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
        if self.split_rule in SEEDED:
            return seeded_split(names, self.fractions, self.split_seed)
        if self.split_rule == "folders":
            return split_by_prefix(names)
        split_of = self._table().split_of
        return {part: [name for name in names if split_of.get(name) == part] for part in SPLITS}

    def describe(self) -> dict[str, int | str | bool]:
        seeded = {"split_seed": self.split_seed} if self.split_rule in SEEDED else {}
        return {**super().describe(), "class_split": self.split_rule, **seeded}

    def _state(self, place: Path) -> str:
        classes = self._class_files(place)
        paths = [Path(file.name) for files in classes.values() for file in files]
        sizes = {name: len(files) for name, files in classes.items()}
        return fingerprint(paths, sizes, *self.image_files().rules)

    @property
    def _is_table(self) -> bool:
        return self.split_rule not in (*SEEDED, "folders")

    def _table(self) -> SplitTable:
        return SplitTable(user_path(self.split_rule))

    def _folders(self, place: Path) -> dict[str, Path]:
        """Find every class's folder, if classes are folders."""
        if self.split_rule == "folders":
            return list_split_folders(place)
        folders = {path.name: path for path in list_folders(place)}
        if set(folders) == set(FOLDERS.values()):
            raise UserError(
                f"{place} contains train/, val/ and test/, which task.split=seeded would take for "
                "classes. Set task.split=folders."
            )
        if not folders:
            raise UserError(f"{place} contains no folder. {self.what_to_put}")
        return folders

    def _class_names(self, place: Path) -> Iterable[str]:
        if self.split_rule == "images":
            return list_single_images(place)
        return self._table().split_of if self._is_table else self._folders(place)

    def _class_files(self, place: Path) -> ClassFiles:
        if self.split_rule == "images":
            return list_single_images(place)
        if self._is_table:
            return self._table().find(place)
        return list_images(self._folders(place))

    def _first_channels(self) -> Literal[1, 3]:
        """Count the channels of the first readable image."""
        files = (
            file for of_class in self._class_files(self.locate()).values() for file in of_class
        )
        for file in files:
            with suppress(OddImageError):  # all of them are listed when images are read
                return count_channels(file)
        raise UserError(f"{self.data_dir} contains no readable image. {self.what_to_put}")
