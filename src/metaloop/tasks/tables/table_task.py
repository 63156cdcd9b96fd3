"""A family whose rows come from a user's file, and which reads further files in the same way."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.tasks.readers.given import ExampleFiles, Given, name_tables
from metaloop.tasks.readers.table_files import TEXTS, require_file
from metaloop.tasks.tables.array_rows import FILE_KEYS, ArrayRows, ArraySource, refuse_useless
from metaloop.tasks.tables.row_reader import RowReader, find_white, names_of_numbers
from metaloop.tasks.tables.scales import (
    Scales,
    measure,
    warn_of_features,
    warn_of_numbering,
    warn_of_targets,
)
from metaloop.tasks.task import Task

SHOWN = 30  # maximum number of features listed by name


class Recorded(NamedTuple):
    """What a run's config records about its file; None has still to be read from the file.

    Attributes:
        input_shape: X.
        size: number of classes, or of values to predict.
        means, spreads: of each element of a row, flat, if features are standardised.
        white: see RowReader.

    """

    input_shape: Sequence[int] | None
    size: int | None
    means: Sequence[float] | None
    spreads: Sequence[float] | None
    white: float | None


class TableTask(Task):
    """Rows of one file, in the form that the run's config records.

    Attributes:
        source: the file and its columns, with the names of its features.
        reader: converts rows to inputs.
        warnings: where a learner would have trouble with the file, if the file was read.

    """

    source: ArraySource
    reader: RowReader
    warnings: Sequence[str] = ()

    def remember(
        self, source: ArraySource, recorded: Recorded, standardise: Literal["train"] | None
    ) -> Recorded:
        """Take over what is recorded about the file, and read the rest from it."""
        shape, scales = recorded.input_shape, None
        if standardise is None:
            idle = {"feature_means": recorded.means, "feature_spreads": recorded.spreads}
            refuse_useless("because task.standardise=null", **idle)
        if recorded.means is not None and recorded.spreads is not None:
            known = recorded.means, recorded.spreads
            scales = Scales(*(torch.tensor(n, dtype=torch.float64) for n in known))
        is_known = None not in (shape, recorded.size, source.features)
        if not is_known or (standardise and scales is None):
            rows = source.read()
            shape = recorded.input_shape or list(rows.inputs.shape[1:])
            source = replace(source, features=rows.features)
            scales = measure(rows.inputs[rows.trained]) if standardise else None
            size = rows.targets.shape[1] if source.targets else len(rows.names)
            white = find_white(rows.inputs) if len(shape) == 3 else None
            recorded = recorded._replace(size=recorded.size or size, white=white)
            self.warnings = _warnings(rows, source, is_standardised=scales is not None)
        assert shape is not None
        self.source, self.input_shape = source, tuple(shape)
        self.reader = RowReader(
            columns=source.columns,
            input_shape=self.input_shape,
            is_regression=bool(self.is_regression),
            scales=scales,
            white=recorded.white,
        )
        return recorded

    @property
    def found_of_table(self) -> Mapping[str, object]:
        """Keys of conf/task/arrays.yaml that the reader uses."""
        found: dict[str, object] = {
            "input_shape": list(self.input_shape),
            "features": self.source.features,
        }
        if self.reader.scales is not None:
            means, spreads = (values.tolist() for values in self.reader.scales)
            found |= {"standardise": "train", "feature_means": means, "feature_spreads": spreads}
        return found if self.reader.white is None else found | {"white": self.reader.white}

    def require_data(self) -> None:
        require_file(self.source.path, FILE_KEYS)

    def read_table(self) -> ArrayRows:
        """Read the file, with inputs in the scale on which the network is trained.

        Raises:
            UserError: if it does not fit what the run was trained on.

        """
        rows = self.source.read()
        require_shape(self.source.path, "features", rows.inputs, self.input_shape)
        return rows._replace(inputs=self.reader.scale(rows.inputs, torch.float64))

    def read_examples(
        self, place: Path, *, skip_unusable: bool, like: Given | None = None
    ) -> Given:
        is_image_files = place.is_dir() or place.suffix.lower() in TEXTS
        if len(self.input_shape) == 3 and is_image_files:
            return super().read_examples(place, skip_unusable=skip_unusable, like=like)
        return self.reader.read(place, like)

    def suggest_files(self) -> ExampleFiles | None:
        columns = self.source.columns
        if len(self.input_shape) == 3 or isinstance(columns.features, str):
            return super().suggest_files()
        return name_tables(columns.features or (), columns.targets or ())

    def scale(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:  # type: ignore[override]
        return self.reader.scale(inputs, dtype)

    def introduce(self) -> list[str]:
        columns = self.source.columns
        if isinstance(columns.features, str):
            numbers = " x ".join(map(str, self.input_shape))
            features = f"{numbers} numbers in '{columns.features}'"
        else:
            names = list(columns.features or ())
            more = f" .. ({len(names)} in all)" if names[SHOWN:] else ""
            features = f"{', '.join(names[:SHOWN])}{more}"
        task = f", one task per '{self.source.group}'" if self.source.targets else ""
        told = f"Features: {features}. Target: {', '.join(columns.targets or ())}{task}."
        return [told, *(f"Warning: {text}." for text in self.warnings)]

    def describe_inputs(self) -> dict[str, object]:
        return self.reader.describe()

    def describe(self) -> dict[str, int | str | bool]:
        said = {"file": self.source.file or "", "split_by": self.source.split_by}
        scaled = {"standardise": "train"} if self.reader.scales is not None else {}
        return {**super().describe(), **said, **scaled}


def require_shape(path: Path, what: str, rows: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a file whose rows do not have the shape for which the model was built."""
    if tuple(rows.shape[1:]) != shape:
        raise UserError(
            f"{path}: its {what} have the shape {list(rows.shape[1:])} per row, but the learner is "
            f"built for {list(shape)}. Select the columns it was trained on, or train another."
        )


def _warnings(rows: ArrayRows, source: ArraySource, *, is_standardised: bool) -> list[str]:
    """Collect warnings about the training rows."""
    names = names_of_numbers(rows.features, tuple(rows.inputs.shape[1:]))
    found = [] if isinstance(rows.features, str) else warn_of_numbering(rows.inputs, names)
    if bool(rows.trained.any()):
        if not is_standardised:
            found += warn_of_features(rows.inputs[rows.trained], names)
        found += warn_of_targets(rows.targets[rows.trained], source.targets)
    return found
