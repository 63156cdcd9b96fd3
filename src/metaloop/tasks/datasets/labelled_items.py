"""The items of labelled data sets, each read once: inputs into an image store, and their labels."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset
from tqdm import tqdm

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_text
from metaloop.folders.user_path import user_path
from metaloop.tasks.datasets.item_values import Values, to_image, to_numbers
from metaloop.tasks.images.image_cache import REMEDY, ImageSource, load_or_build
from metaloop.tasks.images.image_sources import fingerprint
from metaloop.tasks.images.image_store import ImageStore, Storage
from metaloop.tasks.readers.arrays import Array
from metaloop.tasks.readers.image_files import ImageFiles, OddImageError, Pixels
from metaloop.tasks.readers.visible_files import explain_unusable, files_below

Label = int | str
LABELS = "labels.json"  # in the folder of the cache
CACHED = "torchvision.datasets"  # whose data sets read from their `root` alone, and may be cached
DatasetOrMaker = Dataset[Any] | Callable[..., Dataset[Any]]


class Row(NamedTuple):
    """Where an item is: in the data set of this name, under this number."""

    part: str
    number: int

    def __str__(self) -> str:
        return f"{self.part}[{self.number}]"


class Form(NamedTuple):
    """What inputs are made into: arrays of one shape, images of bytes by these rules."""

    shape: tuple[int, ...]
    values: Values
    files: ImageFiles


class Loaded(NamedTuple):
    """All usable items, in one class of a store, and each one's place and label."""

    store: ImageStore
    rows: list[Row]
    labels: list[Label]


class LabelledItems:
    """Data sets by name: `dataset` alone, or `train`, `validation` and `test`.

    Args:
        given: the data sets, or what makes each when it is first asked for an item.

    """

    def __init__(self, given: Mapping[str, DatasetOrMaker]) -> None:
        self._given = given
        self._labels: dict[Row, Label] = {}

    @property
    def parts(self) -> list[str]:
        """The names of the data sets."""
        return list(self._given)

    @functools.cached_property
    def datasets(self) -> dict[str, Dataset[Any]]:
        """The data sets, made.

        Raises:
            UserError: one is no data set of items that are numbered.

        """
        return {part: _made(part, given) for part, given in self._given.items()}

    @functools.cached_property
    def rows(self) -> list[Row]:
        """All items."""
        return [
            Row(part, i)
            for part, dataset in self.datasets.items()
            for i in range(len(cast(Sequence[object], dataset)))
        ]

    def first_input(self) -> tuple[Row, object]:
        """The first item that can be read."""
        unread = UserError(f"task.{next(iter(self._given))} has no items. Name one that has some.")
        with torch.random.fork_rng(devices=[]):  # an item's transform may draw random numbers
            for row in self.rows:
                try:
                    return row, self._read(row)
                except OddImageError as error:
                    unread = error
        raise unread

    def load(self, form: Form, cache_dir: Path, storage: Storage, *, skip_unusable: bool) -> Loaded:
        """Read all items, once: from the cache where there can be one, else into memory.

        Raises:
            UserError: an item that is no (input, label) of this form.

        """
        state = self._state(form)
        if state is None:
            return self._read_all(form, storage, skip_unusable=skip_unusable)
        path = cache_dir / f"dataset-{'x'.join(map(str, form.shape))}-{state}"
        with torch.random.fork_rng(devices=[]):
            store = load_or_build(
                path,
                lambda: ImageSource({"": self.rows}, lambda r: self._pixels(r, form), form.shape),
                storage=storage,
                skip_unusable=skip_unusable,
            )
            known = store.find(torch.tensor(0), torch.arange(int(store.counts[0]))).tolist()
            rows = [self.rows[i] for i in known]
            return Loaded(store, rows, self._cached_labels(path / LABELS, rows))

    def class_name(self, part: str, label: Label) -> str:
        """The label's name, by the data set's `classes` where it has such a list."""
        names = self._class_names(part)
        return names[label] if isinstance(label, int) and label in range(len(names)) else str(label)

    def count_names(self) -> int | None:
        """How many classes the data sets name; None where one names none."""
        named = [len(self._class_names(part)) for part in self.parts]
        return sum(named) if all(named) else None

    def describe(self) -> str:
        """Say what the data sets are, for a protocol."""
        given = self._given.values()
        made = [each.func if isinstance(each, functools.partial) else type(each) for each in given]
        return ", ".join(dict.fromkeys(str(getattr(m, "__name__", m)) for m in made))

    def _class_names(self, part: str) -> Sequence[str]:
        """The names that a data set has for its labels 0, 1 .., where it has different ones."""
        names: object = getattr(self.datasets[part], "classes", None)
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            return ()
        return names if len(set(names)) == len(names) else ()

    def _read_all(self, form: Form, storage: Storage, *, skip_unusable: bool) -> Loaded:
        read: Callable[[Row, Form], Array] = self._numbers
        if form.values == "bytes":
            read = self._pixels
        inputs: list[Array] = []
        rows: list[Row] = []
        odd: list[str] = []
        with torch.random.fork_rng(devices=[]):
            for row in tqdm(self.rows, desc="Reading items", unit="item", disable=None):
                try:
                    inputs.append(read(row, form))
                    rows.append(row)
                except OddImageError as error:
                    odd.append(str(error))
        if odd and not skip_unusable:
            raise UserError(explain_unusable(odd, REMEDY))
        images = torch.from_numpy(np.stack(inputs))
        storage = "memory" if storage == "mapped" else storage
        counts = torch.tensor([len(rows)])
        store = ImageStore(images, counts, [""], storage=storage, odd=odd)
        return Loaded(store, rows, [self._labels[row] for row in rows])

    def _pixels(self, row: Row, form: Form) -> Pixels:
        image = to_image(self._read(row))
        if image is None:
            raise UserError(
                f"{row} is no image of bytes, and the first item is one. Give all items the same "
                "form, or set task.values=numbers, which takes inputs as they are."
            )
        try:
            pixels = form.files.fit(image, str(row))
        except OddImageError:
            raise
        except Exception as error:  # a damaged image fails in whatever way its bytes happen to
            raise OddImageError(f"{row} is no readable image ({error}).") from error
        if pixels.shape != form.shape:
            height, width = pixels.shape[1:]
            raise UserError(
                f"{row} is {height} x {width} pixels, and the first item {form.shape[1]} x "
                f"{form.shape[2]}. Set task.image_size=84, or another number, to resize all."
            )
        return pixels

    def _numbers(self, row: Row, form: Form) -> Array:
        numbers = to_numbers(self._read(row), str(row))
        if numbers.shape != form.shape:
            raise UserError(
                f"{row} has the shape {list(numbers.shape)}, and the learner is built for "
                f"{list(form.shape)}, the first item's. Give the data set a transform that makes "
                "all inputs alike."
            )
        return numbers

    def _read(self, row: Row) -> object:
        """An item's input; its label is kept."""
        try:
            item: object = self.datasets[row.part][row.number]
        except UserError:
            raise
        except Exception as error:  # whatever somebody's data set raises
            raise OddImageError(
                f"{row} cannot be read ({type(error).__name__}: {error})."
            ) from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise UserError(
                f"{row} is a {_described(item)}, no pair (input, label). A labelled data set gives "
                "pairs: choose one with labels, or wrap it in a Dataset of yours that gives them."
            )
        self._labels[row] = _to_label(item[1], row)
        return item[0]

    def _cached_labels(self, path: Path, rows: Sequence[Row]) -> list[Label]:
        """The labels next to the cache; those that a killed build had read are read again."""
        if path.is_file():
            labels: list[Label] = json.loads(path.read_text())
            return labels
        for row in rows:
            if row not in self._labels:
                self._read(row)
        labels = [self._labels[row] for row in rows]
        write_text(path, json.dumps(labels))
        return labels

    def _state(self, form: Form) -> str | None:
        """Name all that the decoded images depend on; None where nobody can know that."""
        states = [_state_of(given) for given in self._given.values()]
        if form.values != "bytes" or None in states:
            return None
        known = [part for state in states for part in cast(list[str], state)]
        text = "\n".join([*known, *map(str, form.files.rules)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _made(part: str, given: DatasetOrMaker) -> Dataset[Any]:
    try:
        made: object = given() if isinstance(given, functools.partial) else given
    except Exception as error:  # whatever somebody's data set raises
        raise UserError(
            f"task.{part} cannot be made ({type(error).__name__}: {error}). Correct its arguments, "
            f"task.{part}.NAME=VALUE."
        ) from error
    is_numbered = hasattr(made, "__getitem__") and hasattr(made, "__len__")
    if isinstance(made, IterableDataset) or not is_numbered:
        raise UserError(
            f"task.{part} is a {type(made).__name__}, whose items have no numbers. Episodes draw "
            "items in any order: name a map-style Dataset, with __len__ and __getitem__."
        )
    return cast(Dataset[Any], made)


def _state_of(given: DatasetOrMaker) -> list[str] | None:
    """A data set's folder, and what else its items depend on."""
    if not isinstance(given, functools.partial) or not isinstance(given.keywords.get("root"), str):
        return None
    name = f"{given.func.__module__}.{getattr(given.func, '__qualname__', '')}"
    said = repr([given.args, sorted(given.keywords.items())])
    if not name.startswith(CACHED) or " at 0x" in said:  # a transform that does not say what it is
        return None
    root = user_path(given.keywords["root"])
    return [fingerprint(files_below(root)), name, said, metadata.version("torchvision")]


def _to_label(value: object, row: Row) -> Label:
    if isinstance(value, Tensor | np.generic | np.ndarray) and len(value.reshape(-1)) == 1:
        value = value.item()
    if not isinstance(value, int | str):
        raise UserError(
            f"The label of {row} is a {_described(value)}, and a class is a whole number or a "
            "text. Choose another label of the data set's (target_type in torchvision), or give "
            "it a target_transform that makes one."
        )
    return value


def _described(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} of shape {list(value.shape)}"
    return type(value).__name__
