"""A user's file as rows in groups: classes of a classification, data sets of a regression."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.tasks.random_streams import SPLITS, Split
from metaloop.tasks.readers.table_files import (
    Column,
    Numbers,
    Table,
    pick,
    read_table,
    require_same_length,
    to_labels,
    to_numbers,
)
from metaloop.tasks.sources.class_splits import seeded_split

SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


class ArrayRows(NamedTuple):
    """All rows of a file.

    Shapes:
        inputs [R, *X]   targets [R, Y], or [R, 0] where groups are the targets
        members [R]      the group of each row
    """

    inputs: Tensor
    targets: Tensor
    members: Tensor
    names: list[str]
    splits: dict[Split, list[int]]


@dataclass(frozen=True, kw_only=True)
class ArraySource:
    """Where rows come from and what each column means.

    Attributes:
        data_dir: the file's folder; None where it is not needed, as a trained run's may be.
        file: the name of an .npz, .csv or .parquet file in it.
        features: a column (in an NPZ an array of any shape), several, or None: all other columns
            of a table, the array `features` of an NPZ.
        targets: the numbers to predict, in a regression.
        group: the column that says which class or data set a row is of.
        split: the column that says which split a row's group is in; None divides by the seed.
        fractions: of the groups in train, validation, test, where the seed divides.
        seed: of that division.

    """

    data_dir: str | None
    file: str | None
    features: str | Sequence[str] | None
    targets: Sequence[str]
    group: str
    split: str | None
    fractions: Sequence[float]
    seed: int

    @property
    def path(self) -> Path:
        """The file.

        Raises:
            UserError: none is named.

        """
        if self.data_dir is None or self.file is None:
            raise UserError(
                "task=arrays reads a file of yours: set task.data_dir=FOLDER and task.file=NAME, "
                "an .npz, .csv or .parquet file in it."
            )
        return Path(self.data_dir).expanduser() / self.file

    def read(self) -> ArrayRows:
        """Read and check the file.

        Raises:
            UserError: whatever does not fit, by file, column and row.

        """
        table = read_table(self.path)
        (group,) = pick(table, [self.group], self.path, "the column of classes or data sets")
        inputs = self._features(table)
        targets = self._join(table, self.targets, "task.target")
        columns: dict[str, Column] = {"features": inputs, self.group: group}
        require_same_length(columns | dict.fromkeys(self.targets[:1], targets), self.path)
        labels = to_labels(group, self.group, self.path)
        names = sorted(set(labels))
        number = {name: i for i, name in enumerate(names)}
        return ArrayRows(
            torch.from_numpy(inputs),
            torch.from_numpy(targets if self.targets else np.zeros((len(inputs), 0))),
            torch.tensor([number[label] for label in labels]),
            names,
            {
                split: [number[name] for name in members]
                for split, members in self._divide(table, labels, names).items()
            },
        )

    def _features(self, table: Table) -> Numbers:
        if isinstance(self.features, str):
            return self._as_rows(table, self.features, "task.features")
        if self.features is not None:
            return self._join(table, self.features, "task.features")
        if self.path.suffix.lower() == ".npz":
            return self._as_rows(table, "features", "task.features")
        taken = {self.group, self.split, *self.targets}
        return self._join(table, [name for name in table if name not in taken], "task.features")

    def _as_rows(self, table: Table, name: str, key: str) -> Numbers:
        (column,) = pick(table, [name], self.path, key)
        numbers = to_numbers(column, name, self.path)
        return numbers if numbers.ndim > 1 else numbers[:, None]

    def _join(self, table: Table, names: Sequence[str], key: str) -> Numbers:
        """Columns side by side, [R, numbers]."""
        if not names and key == "task.features":
            raise UserError(f"{self.path} has no column left for features. Name some in {key}.")
        columns = dict(zip(names, pick(table, names, self.path, key), strict=True))
        require_same_length(columns, self.path)
        parts = [self._as_rows(table, n, key).reshape(len(c), -1) for n, c in columns.items()]
        return np.concatenate(parts, 1) if parts else np.zeros((0, 0))

    def _divide(
        self, table: Table, labels: Sequence[str], names: Sequence[str]
    ) -> dict[Split, list[str]]:
        if self.split is None:
            return seeded_split(names, self.fractions, self.seed)
        (column,) = pick(table, [self.split], self.path, "task.split_column")
        require_same_length({self.group: np.array(labels), self.split: column}, self.path)
        split_of: dict[str, Split] = {}
        said = to_labels(column, self.split, self.path)
        for row, (label, word) in enumerate(zip(labels, said, strict=True), 1):
            if word not in SPLIT_NAMES:
                raise UserError(
                    f"{self.path}: '{self.split}' is '{word}' in row {row}. It says train, "
                    "validation or test."
                )
            if split_of.setdefault(label, SPLIT_NAMES[word]) != SPLIT_NAMES[word]:
                raise UserError(
                    f"{self.path}: '{label}' ({self.group}) is in {split_of[label]} and, in row "
                    f"{row}, in {SPLIT_NAMES[word]}. Few-shot learning tests on what training has "
                    "not seen: all its rows belong to one split."
                )
        return {split: [n for n in names if split_of[n] == split] for split in SPLITS}
