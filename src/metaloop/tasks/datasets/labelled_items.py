"""Read the items of labelled data sets once: inputs into an image store, and their labels."""

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
LABELS = "labels.json"  # in the cache folder
CACHED = "torchvision.datasets"  # these read only from their `root`, so they can be cached
DatasetOrMaker = Dataset[Any] | Callable[..., Dataset[Any]]


class Row(NamedTuple):
    """An item: the name of its data set, and its index there."""

    part: str
    number: int

    def __str__(self) -> str:
        return f"{self.part}[{self.number}]"


class Form(NamedTuple):
    """The form of inputs: arrays of one shape, with rules for images of bytes."""

    shape: tuple[int, ...]
    values: Values
    files: ImageFiles


class Loaded(NamedTuple):
    """All usable items, in one class of a store, with each item's row and label."""

    store: ImageStore
    rows: list[Row]
    labels: list[Label]


class LabelledItems:
    """Data sets by name: only `dataset`, or `train`, `validation` and `test`.

    Args:
        given: the data sets, or callables that create them when first needed.

    """

    def __init__(self, given: Mapping[str, DatasetOrMaker]) -> None:
        self._given = given
        self._labels: dict[Row, Label] = {}

    @property
    def parts(self) -> list[str]:
        """Names of the data sets."""
        return list(self._given)

    @functools.cached_property
    def datasets(self) -> dict[str, Dataset[Any]]:
        """The data sets, created if necessary.

        Raises:
            UserError: if one is not a map-style data set.

        """
        return {part: _create(part, given) for part, given in self._given.items()}

    @functools.cached_property
    def rows(self) -> list[Row]:
        """All items of all data sets."""
        return [
            Row(part, i)
            for part, dataset in self.datasets.items()
            for i in range(len(cast(Sequence[object], dataset)))
        ]

    def first_input(self) -> tuple[Row, object]:
        """Read the first readable item."""
        unread = UserError(f"task.{next(iter(self._given))} has no items. Use one that has some.")
        with torch.random.fork_rng(devices=[]):  # an item's transform may be random
            for row in self.rows:
                try:
                    return row, self._read(row)
                except OddImageError as error:
                    unread = error
        raise unread

    def load(self, form: Form, cache_dir: Path, storage: Storage, *, skip_unusable: bool) -> Loaded:
        """Read all items once: from the cache where possible, else into memory.

        Raises:
            UserError: if an item is not an (input, label) of this form.

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
        """Return the label's name, from the data set's `classes` if it has such a list."""
        names = self._class_names(part)
        return names[label] if isinstance(label, int) and label in range(len(names)) else str(label)

    def count_names(self) -> int | None:
        """Count the classes that the data sets name; None if one names none."""
        named = [len(self._class_names(part)) for part in self.parts]
        return sum(named) if all(named) else None

    def describe(self) -> str:
        """Name the data sets, for a protocol."""
        given = self._given.values()
        made = [each.func if isinstance(each, functools.partial) else type(each) for each in given]
        return ", ".join(dict.fromkeys(str(getattr(m, "__name__", m)) for m in made))

    def _class_names(self, part: str) -> Sequence[str]:
        """Return a data set's names of its labels 0, 1 .., if they are distinct."""
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
                f"{row} is not an image of bytes, but the first item is. Give all items the same "
                "form, or set task.values=numbers, which keeps inputs as they are."
            )
        try:
            pixels = form.files.fit(image, str(row))
        except OddImageError:
            raise
        except Exception as error:  # a damaged image may raise anything
            raise OddImageError(f"{row} is not a readable image ({error}).") from error
        if pixels.shape != form.shape:
            height, width = pixels.shape[1:]
            raise UserError(
                f"{row} has {height} x {width} pixels, but the first item {form.shape[1]} x "
                f"{form.shape[2]}. Set a size such as task.image_size=84, to resize all."
            )
        return pixels

    def _numbers(self, row: Row, form: Form) -> Array:
        numbers = to_numbers(self._read(row), str(row))
        if numbers.shape != form.shape:
            raise UserError(
                f"{row} has the shape {list(numbers.shape)}, but the first item "
                f"{list(form.shape)}, for which the learner is built. Give the data set a "
                "transform that gives all inputs one shape."
            )
        return numbers

    def _read(self, row: Row) -> object:
        """Read an item's input, and keep its label."""
        try:
            item: object = self.datasets[row.part][row.number]
        except UserError:
            raise
        except Exception as error:  # a user's data set may raise anything
            raise OddImageError(
                f"{row} cannot be read ({type(error).__name__}: {error})."
            ) from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise UserError(
                f"{row} is a {_describe(item)}, not a pair (input, label). A labelled data set "
                "returns pairs: choose one with labels, or wrap it in a Dataset that returns them."
            )
        self._labels[row] = _to_label(item[1], row)
        return item[0]

    def _cached_labels(self, path: Path, rows: Sequence[Row]) -> list[Label]:
        """Read the labels next to the cache, or make them from the items."""
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
        """Hash everything that the decoded images depend on; None if that cannot be known."""
        states = [_state_of(given) for given in self._given.values()]
        if form.values != "bytes" or None in states:
            return None
        known = [part for state in states for part in cast(list[str], state)]
        text = "\n".join([*known, *map(str, form.files.rules)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _create(part: str, given: DatasetOrMaker) -> Dataset[Any]:
    try:
        made: object = given() if isinstance(given, functools.partial) else given
    except Exception as error:  # a user's data set may raise anything
        raise UserError(
            f"task.{part} cannot be created ({type(error).__name__}: {error}). Correct its "
            f"arguments, task.{part}.NAME=VALUE."
        ) from error
    is_numbered = hasattr(made, "__getitem__") and hasattr(made, "__len__")
    if isinstance(made, IterableDataset) or not is_numbered:
        raise UserError(
            f"task.{part} is a {type(made).__name__}, whose items have no index. Episodes draw "
            "items in any order: use a map-style Dataset, with __len__ and __getitem__."
        )
    return cast(Dataset[Any], made)


def _state_of(given: DatasetOrMaker) -> list[str] | None:
    """Identify a data set's files and everything else that its items depend on."""
    if not isinstance(given, functools.partial) or not isinstance(given.keywords.get("root"), str):
        return None
    name = f"{given.func.__module__}.{getattr(given.func, '__qualname__', '')}"
    said = repr([given.args, sorted(given.keywords.items())])
    if not name.startswith(CACHED) or " at 0x" in said:  # a transform with no stable description
        return None
    root = user_path(given.keywords["root"])
    return [fingerprint(files_below(root)), name, said, metadata.version("torchvision")]


def _to_label(value: object, row: Row) -> Label:
    if isinstance(value, Tensor | np.generic | np.ndarray) and len(value.reshape(-1)) == 1:
        value = value.item()
    if not isinstance(value, int | str):
        raise UserError(
            f"The label of {row} is a {_describe(value)}, but a class must be an integer or a "
            "string. Choose another label of the data set (target_type in torchvision), or add "
            "a target_transform that returns one."
        )
    return value


def _describe(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} of shape {list(value.shape)}"
    return type(value).__name__
