"""Rows of a user's file in groups: classes in classification, data sets in regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.folders.user_path import user_path
from metaloop.tasks.random_streams import SPLITS, Split
from metaloop.tasks.readers.given_rows import Columns
from metaloop.tasks.readers.table import Decimal, Table, list_names
from metaloop.tasks.readers.table_files import TABLES, TEXTS, read_table
from metaloop.tasks.sources.class_splits import SPLIT_WORDS, require_shares, seeded_split

FILE_KEYS = "task.data_dir and task.file"
FRACTIONS = (0.6, 0.2, 0.2)
ARRAY = "features"  # default array of features in an NPZ


class ArrayRows(NamedTuple):
    """All rows of a file.

    Attributes:
        inputs: [R, *X].
        targets: [R, Y], or [R, 0] if groups are the targets.
        members: [R], the group of each row.
        names: names of the groups.
        splits: indices of each split's groups.
        features: names of the input columns, or of an array, whose elements have no names.

    """

    inputs: Tensor
    targets: Tensor
    members: Tensor
    names: list[str]
    splits: dict[Split, list[int]]
    features: str | list[str]

    @property
    def trained(self) -> Tensor:
        """Mask of the rows in the training split, [R]."""
        return torch.isin(self.members, torch.tensor(self.splits["train"], dtype=torch.int64))


@dataclass(frozen=True, kw_only=True)
class ArraySource:
    """A file of rows, and the meaning of its columns.

    Attributes:
        data_dir: the file's folder; None if it is not needed, as for a trained run.
        file: name of a table in it, see read_table.
        features: a column (in an NPZ an array of any shape), several, or None: all other columns
            of a table, or the array `features` of an NPZ.
        targets: the columns to predict in a regression.
        group: the column with the class or data set of each row.
        split: the column with the split of each row's group; None splits by the seed.
        fractions: shares of the groups in train, validation and test, if the seed splits.
        seed: seed of that split.
        decimal: see read_table.

    """

    data_dir: str | None
    file: str | None
    features: str | Sequence[str] | None
    targets: Sequence[str]
    group: str
    split: str | None
    fractions: Sequence[float] | None
    seed: int | None
    decimal: Decimal | None

    def __post_init__(self) -> None:
        if self.split is not None:
            known = {"split_fractions": self.fractions, "split_seed": self.seed}
            refuse_useless(f"because task.split_column={self.split} gives the split", **known)
        if self.file is not None and not self.file.lower().endswith(TEXTS):
            refuse_useless(f"for {self.file}, which is not text", decimal=self.decimal)
        require_shares(self.fractions or FRACTIONS, "task.split_fractions")

    @property
    def path(self) -> Path:
        """Path of the file.

        Raises:
            UserError: if none is set.

        """
        if self.data_dir is None or self.file is None:
            raise UserError(
                "task=arrays reads a file: set task.data_dir=FOLDER and task.file=NAME, "
                f"a table in it: {', '.join(TABLES)}."
            )
        return user_path(self.data_dir) / self.file

    @property
    def columns(self) -> Columns:
        """Columns of new examples."""
        others = [name for name in (self.group, self.split) if name is not None]
        return Columns(self.features, self.targets or [self.group], others, self.decimal)

    @property
    def split_by(self) -> str:
        """Source of the split, for a protocol."""
        return self.split or f"seeded, {self.seed or 0}"

    def read(self) -> ArrayRows:
        """Read and check the file.

        Raises:
            UserError: for anything that does not fit, by file, column and row.

        """
        table = read_table(self.path, decimal=self.decimal, key=FILE_KEYS)
        table.require([self.group], "task.task_column" if self.targets else "task.target")
        table.require(self.targets, "task.target")
        features = self._features(table)
        names = [features] if isinstance(features, str) else features
        table.require(names, "task.features")
        table.require([*names, *self.targets, self.group], "task.features")
        read = table.labels if self.targets else table.class_labels
        labels, inputs = read(self.group), torch.from_numpy(table.side_by_side(names))
        if isinstance(features, str):
            inputs = inputs.view(len(inputs), *(table.columns[features].shape[1:] or (1,)))
        targets = torch.empty(len(inputs), 0, dtype=torch.float64)
        if self.targets:
            targets = torch.from_numpy(table.side_by_side(self.targets))
        groups = sorted(set(labels))
        number = {name: i for i, name in enumerate(groups)}
        split_names = self._split_names(table, labels, groups)
        return ArrayRows(
            inputs,
            targets,
            torch.tensor([number[label] for label in labels]),
            groups,
            {split: [number[name] for name in members] for split, members in split_names.items()},
            features,
        )

    def _features(self, table: Table) -> str | list[str]:
        """Return the names of the features; by default all other columns that can be features."""
        if self.features is not None:
            named = [self.features] if isinstance(self.features, str) else list(self.features)
            if known := [n for n in named if n in (self.targets or [self.group])]:
                raise UserError(
                    f"task.features lists '{known[0]}', which is the target of the prediction "
                    "(task.target). Remove it from one of them."
                )
            is_array = isinstance(self.features, str) and self.path.suffix.lower() not in TEXTS
            return named[0] if is_array else named
        if self.path.suffix.lower() == ".npz":
            return ARRAY
        taken = {self.group, self.split, *self.targets}
        features = [name for name in table.columns if name not in taken]
        if numbering := [name for name in features if name in table.index]:
            raise UserError(
                f"{self.path}: the column '{numbering[0]}' is an index written by pandas, which "
                "only numbers the rows. Save the table without it (index=False), or list the "
                "features in task.features."
            )
        if not features:
            raise UserError(
                f"{self.path} has no column left for features: it has "
                f"{list_names(list(table.columns))}. Add some; columns must be separated by "
                "commas, semicolons, tabs or |."
            )
        return features

    def _split_names(
        self, table: Table, labels: Sequence[str], names: Sequence[str]
    ) -> dict[Split, list[str]]:
        if self.split is None:
            return seeded_split(names, self.fractions or FRACTIONS, self.seed or 0)
        table.require([self.split, self.group], "task.split_column")
        split_of: dict[str, Split] = {}
        for row, (label, word) in enumerate(zip(labels, table.labels(self.split), strict=True), 1):
            if word not in SPLIT_WORDS:
                raise UserError(
                    f"{self.path}: '{self.split}' is '{word}' in row {row}. It must be train, "
                    "validation or test."
                )
            if split_of.setdefault(label, SPLIT_WORDS[word]) != SPLIT_WORDS[word]:
                raise UserError(
                    f"{self.path}: '{label}' ({self.group}) is in {split_of[label]} and, in row "
                    f"{row}, in {SPLIT_WORDS[word]}. Few-shot learning tests on what training has "
                    "not seen, so all its rows must be in one split."
                )
        return {split: [n for n in names if split_of[n] == split] for split in SPLITS}


def refuse_useless(reason: str, **values: object) -> None:
    """Refuse task keys that are set but have no effect."""
    for name, value in values.items():
        if value is not None:
            raise UserError(f"task.{name}={value} has no effect {reason}. Leave it out.")
