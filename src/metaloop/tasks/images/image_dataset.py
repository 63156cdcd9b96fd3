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
    """What every data set of images takes.

    Attributes:
        image_size: height and width that images are resized to.
        storage: where the decoded images lie, see ImageStore; changes no number.
        data_dir: where the user's copy lies; None downloads where the source allows it.
        cache_dir: where downloads and the decoded images are kept.
        (others) see EpisodeOptions.

    """

    image_size: Count
    storage: Storage
    data_dir: str | None
    cache_dir: str


class ImageOptions(SourceOptions):
    """What a data set takes that does not itself know its images.

    Attributes:
        channels: 3 for RGB, 1 for grey.
        skip_unusable: leave out images that cannot be read and classes with too few, naming
            them; otherwise they are errors.
        (others) see SourceOptions.

    """

    channels: Literal[1, 3]
    skip_unusable: bool


class ImageDataset(ImageClasses):
    """Episodes of a data set of images; a subclass says where they are and how they are split.

    Args:
        (all) see ImageOptions and EpisodeOptions.

    """

    title: ClassVar[str]  # begins the cache's name
    what_to_put: ClassVar[str]  # what the user may put where, and what of the licence to know
    split_sizes: Mapping[Split, int] = {}  # classes of the published split
    images_a_class: ClassVar[int]  # that no class exceeds, where the classes are known
    is_downloaded: ClassVar[bool] = False  # where no data_dir is named

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
        """Find every class's images, by the classes' names, at the place of the data."""

    @abstractmethod
    def split(self, names: Sequence[str]) -> Mapping[Split, Sequence[str]]:
        """Divide the classes' names into the three splits."""

    def locate(self) -> Path:
        """The data, at `data_dir` or downloaded."""
        return self.own_copy()

    def own_copy(self) -> Path:
        """The user's copy of the data.

        Raises:
            UserError: none is named, or there is none.

        """
        if self.data_dir is None:
            raise UserError(f"task.data_dir is missing: {self.what_to_put}")
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
        """Name all that the decoded images depend on."""
        return fingerprint(files_below(place), *self.image_files().rules)

    def _find_checked(self, place: Path) -> ImageSource[object]:
        """Find the images, and refuse too few before they are decoded."""
        source = self.find_images(place)
        names, counts = list(source.classes), [len(images) for images in source.classes.values()]
        for part, classes in self._ids(names).items():
            usable_classes(self, part, names, counts, classes, self.skip_unusable)
        return source

    def _open(self, store: ImageStore) -> None:
        self.open_images(store, self._ids(store.names), skip_small=self.skip_unusable)

    def _ids(self, names: Sequence[str]) -> dict[Split, list[int]]:
        """The numbers of the classes of each split that is drawn from."""
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
    """A data set whose source may be downloaded from without asking.

    Args:
        source_url: the folder that the archives lie in.
        (others) see ImageOptions.

    """

    archives: Mapping[str, str]  # the archives' names and MD5 checksums
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
