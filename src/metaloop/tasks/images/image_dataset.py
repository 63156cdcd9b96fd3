"""Image data sets on disk: found or downloaded, decoded once, split by classes."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Unpack

from metaloop.arguments import Count
from metaloop.errors import UserError
from metaloop.folders.user_path import user_path
from metaloop.tasks.images.image_cache import ImageSource, load_or_build
from metaloop.tasks.images.image_classes import (
    EpisodeOptions,
    ImageClasses,
    check_episode,
    usable_classes,
)
from metaloop.tasks.images.image_sources import fingerprint
from metaloop.tasks.images.image_store import ImageStore, Storage
from metaloop.tasks.images.uniform_classes import warn_of_uniform
from metaloop.tasks.random_streams import Split
from metaloop.tasks.readers.visible_files import files_below, list_some
from metaloop.tasks.sources.archives import unpack
from metaloop.tasks.sources.download import download
from metaloop.user_text import say


class SourceOptions(EpisodeOptions):
    """Options of every image data set, which ImageDataset documents."""

    image_size: Count
    storage: Storage
    data_dir: str | None
    cache_dir: str


class ImageOptions(SourceOptions):
    """Options of data sets whose images are not fixed, which ImageDataset documents."""

    channels: Literal[1, 3]
    skip_unusable: bool


class ImageDataset(ImageClasses):
    """Episodes of an image data set; a subclass finds the images and splits the classes.

    Args:
        image_size: height and width in pixels to which images are resized.
        channels: 3 for RGB, 1 for grey.
        storage: where decoded images are kept, see ImageStore; it changes no results.
        skip_unusable: leave out unreadable images and classes with too few images, and report
            them; otherwise they are errors.
        data_dir: the user's copy of the data; None downloads it if the source allows that.
        cache_dir: folder for downloads and decoded images.
        (others) see ImageClasses.

    Examples:
        >>> from metaloop import ImageDataset, ImageFolder, MiniImageNet, Omniglot
        >>> all(issubclass(task, ImageDataset) for task in (ImageFolder, MiniImageNet, Omniglot))
        True
        >>> sorted(ImageDataset.__abstractmethods__)  # all that a subclass defines
        ['find_images', 'split']

    """

    title: ClassVar[str]  # start of the cache's name
    what_to_put: ClassVar[str]  # instructions for the user's copy, and the licence
    split_sizes: Mapping[Split, int] = {}  # classes of the published split
    images_a_class: ClassVar[int]  # maximum per class, if the classes are known
    is_downloaded: ClassVar[bool] = False  # if data_dir is not set

    def __init__(
        self,
        *,
        image_size: Count,
        channels: Literal[1, 3],
        storage: Storage,
        skip_unusable: bool,
        data_dir: str | None,
        cache_dir: str,
        **options: Unpack[EpisodeOptions],
    ) -> None:
        super().__init__(**options)
        self.classes = self.count_classes(sum(self.split_sizes.values()))
        self.input_shape = (channels, image_size, image_size)
        self.storage, self.skip_unusable = storage, skip_unusable
        self.cache_dir = user_path(cache_dir)
        self.data_dir = None if data_dir is None else user_path(data_dir)

    @abstractmethod
    def find_images(self, place: Path) -> ImageSource[object]:
        """Find the images of every class in the data's folder or file, by class name."""

    @abstractmethod
    def split(self, names: Sequence[str]) -> Mapping[Split, Sequence[str]]:
        """Divide the class names into the three splits."""

    def locate(self) -> Path:
        """Return the location of the data: `data_dir`, or the download."""
        return self.own_copy()

    def own_copy(self) -> Path:
        """Return the location of the user's copy of the data.

        Raises:
            UserError: if data_dir is not set, or does not exist.

        """
        if self.data_dir is None:
            raise UserError(f"task.data_dir is not set. {self.what_to_put}")
        if not self.data_dir.exists():
            raise UserError(f"There is no task.data_dir={self.data_dir}. {self.what_to_put}")
        return self.data_dir

    def require_data(self) -> None:
        for split in self.splits:
            if split in self.split_sizes:
                classes = self.split_sizes[split]
                check_episode(self, split, classes=classes, images=self.images_a_class)
        if self.data_dir is not None or not self.is_downloaded:
            self.own_copy()

    def prepare(self) -> None:
        self.require_data()
        store = self._load("mapped")
        self._open(store)
        if store.odd:
            say(f"Left out {len(store.odd)} unusable files:{list_some(store.odd)}")
        warn_of_uniform(store)
        split = self.split(store.names)
        for part, classes in self.split_classes.items():
            if left_out := len(split[part]) - len(classes):
                say(f"Left out {left_out} of the {part} split's classes: too few images.")

    def setup(self) -> None:
        self._open(self._load(self.storage))

    def describe(self) -> dict[str, int | str | bool]:
        return {**super().describe(), "image_size": self.input_shape[-1]}

    def _load(self, storage: Storage) -> ImageStore:
        place = self.locate()
        form = "x".join(map(str, self.input_shape))
        return load_or_build(
            self.cache_dir / f"{self.title}-{form}-{self._state(place)}",
            lambda: self._find_checked(place),
            storage=storage,
            skip_unusable=self.skip_unusable,
        )

    def _state(self, place: Path) -> str:
        """Hash everything that the decoded images depend on."""
        return fingerprint(files_below(place), *self.image_files().rules)

    def _find_checked(self, place: Path) -> ImageSource[object]:
        """Find the images, and refuse too few before decoding them."""
        source = self.find_images(place)
        names, counts = list(source.classes), [len(images) for images in source.classes.values()]
        for part, classes in self._ids(names).items():
            usable_classes(self, part, names, counts, classes, self.skip_unusable)
        return source

    def _open(self, store: ImageStore) -> None:
        self.open_images(store, self._ids(store.names), skip_small=self.skip_unusable)

    def _ids(self, names: Sequence[str]) -> dict[Split, list[int]]:
        """Find the indices of the classes of each split in use."""
        ids = {name: i for i, name in enumerate(names)}
        split = self.split(names)
        for part in self.splits:
            if unknown := [name for name in split[part] if name not in ids]:
                raise UserError(
                    f"{self.data_dir or self.cache_dir} lacks {len(unknown)} classes of the "
                    f"{part} split, the first '{unknown[0]}'. {self.what_to_put}"
                )
        return {part: [ids[name] for name in split[part]] for part in self.splits}


class DownloadedImages(ImageDataset):
    """A data set that can be downloaded without registration.

    Args:
        source_url: address of the folder with the archives.
        (others) see ImageDataset.

    """

    archives: Mapping[str, str]  # name and MD5 checksum of each archive
    is_downloaded = True

    def __init__(self, *, source_url: str, **options: Unpack[ImageOptions]) -> None:
        super().__init__(**options)
        self.source_url = source_url

    def locate(self) -> Path:
        place = self.own_copy() if self.data_dir is not None else self._downloaded()
        tars = [place] if place.is_file() else self._tars_in(place)
        if not tars:
            return place
        folder = self.cache_dir / f"{self.title}-unpacked-{fingerprint(tars[:1])}"
        return unpack(tars[0], folder, self.what_to_put)

    def _tars_in(self, folder: Path) -> list[Path]:
        return [folder / name for name in self.archives if (folder / name).is_file()]

    def _downloaded(self) -> Path:
        folder = self.cache_dir / self.title
        for name, md5 in self.archives.items():
            download(f"{self.source_url}/{name}", folder / name, md5=md5, advice=self.what_to_put)
        return folder
