"""Named columns as numbers and labels; errors name the file, column and row."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal as ExactNumber
from pathlib import Path
from typing import Literal

import numpy as np

from metaloop.errors import UserError, nearest

Column = np.ndarray[tuple[int, ...], np.dtype[np.generic]]
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Decimal = Literal[".", ","]
# texts in cells that mean a missing number, and those that mean true and false
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "-", ".", "?"}
TRUTH = {"true": 1.0, "false": 0.0}
NO_FEATURES = {"M": "dates", "m": "durations", "c": "complex numbers"}  # by numpy's kind
NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
WITH_COMMA = re.compile(r"[+-]?\d*(,\d+)+(e[+-]?\d+)?", re.IGNORECASE)
NA_OF_PANDAS = " (pandas takes the text NA for missing, unless keep_default_na=False.)"
LISTED = 8  # rows or columns that a message lists


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A file's columns by name.

    Attributes:
        path: the file.
        columns: as in the file; rows are the first axis, and there may be others. Text is stripped,
            and has dtype object.
        index: columns that only number the rows, as pandas writes them.
        decimal: decimal separator of numbers in text.

    """

    path: Path
    columns: Mapping[str, Column]
    index: Sequence[str] = ()
    decimal: Decimal = "."

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def require(self, names: Sequence[str], key: str) -> None:
        """Refuse names in `key` that the file does not have.

        Raises:
            UserError: if a column is missing or has no rows, or columns differ in length.

        """
        for name in names:
            if name not in self.columns:
                raise UserError(
                    f"{self.path} has no column '{name}' ({key}). {nearest(name, self.columns)}It "
                    f"has: {list_names(list(self.columns))}. Correct {key}."
                )
            if not self.columns[name].ndim:
                raise UserError(
                    f"{self.path}: '{name}' is a single value, not one row per example."
                )
        lengths = {name: len(self.columns[name]) for name in names}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"'{name}' has {length}" for name, length in lengths.items())
            raise UserError(
                f"{self.path}: every example needs features and a label or target, but "
                f"{told} rows. Save columns of the same length."
            )

    def numbers(self, names: Sequence[str]) -> list[Numbers]:
        """Convert columns to finite numbers; true and false are 1 and 0.

        Raises:
            UserError: if a cell is not a number, with its row; or cells are missing or infinite,
                with all rows.

        """
        found = {name: self._numbers(name) for name in names}
        unfit = {name: _not_finite(column) for name, column in found.items()}
        if told := [f"'{name}' in {_rows(rows)}" for name, rows in unfit.items() if rows]:
            raise UserError(
                f"{self.path} has missing or infinite cells: {list_names(told, '; ')}. Fill them "
                "in, or remove these rows."
            )
        return list(found.values())

    def side_by_side(self, names: Sequence[str]) -> Numbers:
        """Convert columns to numbers, [rows, all numbers of a row]."""
        parts = [column.reshape(len(column), -1) for column in self.numbers(names)]
        return np.concatenate(parts, 1)

    def texts(self, name: str) -> list[str]:
        """Return a column unchanged, for file names."""
        return ["" if cell is None else str(cell) for cell in self.columns[name].tolist()]

    def labels(self, name: str) -> list[str]:
        """Convert a column to one label per row.

        Raises:
            UserError: if a row has several values, or none.

        """
        column = self.columns[name]
        if column.ndim != 1 or column.dtype.kind == "c":
            raise UserError(
                f"{self.path}: '{name}' has the shape {column.shape} of {column.dtype}, but one "
                "value per row is needed. Save class numbers or names rather than one-hot rows."
            )
        self._require_no_lists(column, name)
        named = column.astype(str) if column.dtype.kind in NO_FEATURES else column
        labels = [to_label(value) for value in named.tolist()]
        if missing := [row for row, label in enumerate(labels, 1) if not label]:
            raise UserError(
                f"{self.path}: '{name}' is missing in {_rows(missing)}. Fill it in, or remove the "
                f"row.{NA_OF_PANDAS if self.path.suffix.lower() == '.parquet' else ''}"
            )
        return labels

    def class_labels(self, name: str) -> list[str]:
        """Convert a column to one class per row.

        Raises:
            UserError: as `labels`; or if only some are numbers.

        """
        labels = self.labels(name)
        rows = {bool(NUMBER.fullmatch(label)): row for row, label in enumerate(labels, 1)}
        if len(rows) == 2:
            raise UserError(
                f"{self.path}: '{name}' mixes numbers and text: '{labels[rows[True] - 1]}' in row "
                f"{rows[True]}, '{labels[rows[False] - 1]}' in row {rows[False]}. Correct the odd "
                "ones, or write all classes as text, such as 'class 3'."
            )
        return labels

    def _numbers(self, name: str) -> Numbers:
        """Convert a column to numbers, with nan for missing cells."""
        column = self.columns[name]
        if (what := NO_FEATURES.get(column.dtype.kind)) is not None:
            raise UserError(
                f"{self.path}: '{name}' contains {what}. Convert them to numbers (days since a "
                "date, real and imaginary part), or leave the column out of task.features."
            )
        if column.dtype.kind in "biuf":
            return column.astype(np.float64)
        self._require_no_lists(column, name)
        rows = column.reshape(len(column), -1)
        numbers = [
            [self._number(cell, name, row) for cell in cells]
            for row, cells in enumerate(rows.tolist(), 1)
        ]
        return np.array(numbers, dtype=np.float64).reshape(column.shape)

    def _number(self, cell: object, name: str, row: int) -> float:
        if cell is None:
            return np.nan
        if isinstance(cell, int | float | ExactNumber):
            return float(cell)
        text = to_label(cell) if isinstance(cell, str | bytes) else repr(cell)
        if text.lower() in MISSING:
            return np.nan
        if text.lower() in TRUTH:
            return TRUTH[text.lower()]
        plain = text.replace(",", ".") if self.decimal == "," and "." not in text else text
        try:
            return float(plain if "_" not in plain else "")
        except ValueError:
            raise UserError(f"{self.path}: {self._explain(text, name, row)}") from None

    def _require_no_lists(self, column: Column, name: str) -> None:
        """Refuse lists of different lengths; lists of one length have become axes."""
        cells = column.tolist() if column.dtype.kind == "O" else []
        if any(isinstance(cell, np.ndarray | list | dict) for cell in cells):
            sizes = [None if cell is None else len(cell) for cell in cells]
            row = next((r for r, size in enumerate(sizes, 1) if size != sizes[0]), 1)
            raise UserError(
                f"{self.path}: '{name}' contains lists of different lengths: {sizes[0]} values in "
                f"row 1, {sizes[row - 1]} in row {row}. Make them equal, or leave the column out "
                "of task.features."
            )

    def _explain(self, text: str, name: str, row: int) -> str:
        found = f"'{name}' has {text[:60]!r} in row {row}"
        if WITH_COMMA.fullmatch(text):
            return (
                f"{found}: is this a decimal comma, or thousands? Write numbers without commas, "
                "or, for task=arrays, set task.decimal=','."
            )
        return (
            f"{found}, which is not a number. Encode it as numbers, or select only columns of "
            "numbers (task.features)."
        )


def to_label(value: object) -> str:
    """Convert a value to a label: stripped, in Unicode's composed form (NFC).

    A missing value is "".
    """
    if value is None or value != value or value == "NaT":
        return ""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return unicodedata.normalize("NFC", text.strip())


def list_names(names: Sequence[str], between: str = ", ") -> str:
    """List the first names, and the total number if there are more."""
    return between.join(names[:LISTED]) + (f" .. ({len(names)})" if names[LISTED:] else "")


def _not_finite(column: Numbers) -> list[int]:
    """Find the rows, counted from 1, with a missing or infinite value."""
    is_finite = np.isfinite(column.reshape(len(column), -1))
    return [row for row, cells in enumerate(is_finite.tolist(), 1) if not all(cells)]


def _rows(rows: Sequence[int]) -> str:
    return f"row{'s' if len(rows) > 1 else ''} {list_names([str(row) for row in rows])}"
