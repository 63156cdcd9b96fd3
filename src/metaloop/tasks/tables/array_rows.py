"""A user's file as rows in groups: classes of a classification, data sets of a regression."""

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
from metaloop.tasks.readers.table import Decimal, Table, listed
from metaloop.tasks.readers.table_files import TABLES, TEXTS, read_table
from metaloop.tasks.sources.class_splits import SPLIT_WORDS, seeded_split

FILE_KEYS = "task.data_dir and task.file"
FRACTIONS = (0.6, 0.2, 0.2)
ARRAY = "features"  # the array of an NPZ that holds them if no other is named


class ArrayRows(NamedTuple):
    """All rows of a file.

    Attributes:
        inputs: [R, *X].
        targets: [R, Y], or [R, 0] where groups are the targets.
        members: [R], the group of each row.
        names: of the groups.
        splits: the numbers of each split's groups.
        features: the names of the columns that the inputs come from, or that of an array, whose
            numbers have none.

    """

    inputs: Tensor
    targets: Tensor
    members: Tensor
    names: list[str]
    splits: dict[Split, list[int]]
    features: str | list[str]

    @property
    def trained(self) -> Tensor:
        """Which rows are of the training split, [R]."""
        return torch.isin(self.members, torch.tensor(self.splits["train"], dtype=torch.int64))


@dataclass(frozen=True, kw_only=True)
class ArraySource:
    """Where rows come from and what each column means.

    Attributes:
        data_dir: the file's folder; None where it is not needed, as a trained run's may be.
        file: the name of a table in it, see read_table.
        features: a column (in an NPZ an array of any shape), several, or None: all other columns
            of a table, the array `features` of an NPZ.
        targets: the numbers to predict, in a regression.
        group: the column that says which class or data set a row is of.
        split: the column that says which split a row's group is in; None divides by the seed.
        fractions: of the groups in train, validation, test, where the seed divides.
        seed: of that division.
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
            refuse_useless(f"while task.split_column={self.split} says the split", **known)
        if self.file is not None and not self.file.lower().endswith(TEXTS):
            refuse_useless(f"on {self.file}, which is no text", decimal=self.decimal)
        shares = self.fractions or FRACTIONS
        if len(shares) != 3 or abs(sum(shares) - 1) > 1e-6:
            raise UserError(
                f"task.split_fractions={shares} has to be three shares that make 1: of train, "
                "validation and test, as in [0.6,0.2,0.2]."
            )

    @property
    def path(self) -> Path:
        """The file.

        Raises:
            UserError: none is named.

        """
        if self.data_dir is None or self.file is None:
            raise UserError(
                "task=arrays reads a file of yours: set task.data_dir=FOLDER and task.file=NAME, "
                f"a table in it: {', '.join(TABLES)}."
            )
        return user_path(self.data_dir) / self.file

    @property
    def columns(self) -> Columns:
        """What new examples are read by."""
        others = [name for name in (self.group, self.split) if name is not None]
        return Columns(self.features, self.targets or [self.group], others, self.decimal)

    @property
    def split_by(self) -> str:
        """What says the split, for a protocol."""
        return self.split or f"seeded, {self.seed or 0}"

    def read(self) -> ArrayRows:
        """Read and check the file.

        Raises:
            UserError: whatever does not fit, by file, column and row.

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
        divided = self._divide(table, labels, groups)
        return ArrayRows(
            inputs,
            targets,
            torch.tensor([number[label] for label in labels]),
            groups,
            {split: [number[name] for name in members] for split, members in divided.items()},
            features,
        )

    def _features(self, table: Table) -> str | list[str]:
        """The names of the features; of columns that nobody named, those that can be some."""
        if self.features is not None:
            named = [self.features] if isinstance(self.features, str) else list(self.features)
            if known := [n for n in named if n in (self.targets or [self.group])]:
                raise UserError(
                    f"task.features names '{known[0]}', which is what a learner is to predict "
                    "(task.target). Take it out of the one or the other."
                )
            is_array = isinstance(self.features, str) and self.path.suffix.lower() not in TEXTS
            return named[0] if is_array else named
        if self.path.suffix.lower() == ".npz":
            return ARRAY
        taken = {self.group, self.split, *self.targets}
        features = [name for name in table.columns if name not in taken]
        if numbering := [name for name in features if name in table.index]:
            raise UserError(
                f"{self.path}: the column '{numbering[0]}' is an index as pandas writes it, which "
                "says no more than which row it is. Save the table without it (index=False), or "
                "name the features in task.features."
            )
        if not features:
            raise UserError(
                f"{self.path} has no column left for features: it has "
                f"{listed(list(table.columns))}. Add some; columns are separated by commas, "
                "semicolons, tabs or |."
            )
        return features

    def _divide(
        self, table: Table, labels: Sequence[str], names: Sequence[str]
    ) -> dict[Split, list[str]]:
        if self.split is None:
            return seeded_split(names, self.fractions or FRACTIONS, self.seed or 0)
        table.require([self.split, self.group], "task.split_column")
        split_of: dict[str, Split] = {}
        for row, (label, word) in enumerate(zip(labels, table.labels(self.split), strict=True), 1):
            if word not in SPLIT_WORDS:
                raise UserError(
                    f"{self.path}: '{self.split}' is '{word}' in row {row}. It says train, "
                    "validation or test."
                )
            if split_of.setdefault(label, SPLIT_WORDS[word]) != SPLIT_WORDS[word]:
                raise UserError(
                    f"{self.path}: '{label}' ({self.group}) is in {split_of[label]} and, in row "
                    f"{row}, in {SPLIT_WORDS[word]}. Few-shot learning tests on what training has "
                    "not seen: all its rows belong to one split."
                )
        return {split: [n for n in names if split_of[n] == split] for split in SPLITS}


def refuse_useless(reason: str, **values: object) -> None:
    """Refuse keys of the task that are set and have no effect."""
    for name, value in values.items():
        if value is not None:
            raise UserError(f"task.{name}={value} has no effect {reason}. Leave it out.")
