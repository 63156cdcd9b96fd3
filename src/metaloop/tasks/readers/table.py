"""Named columns as numbers and labels; what does not fit is named by file, column and row."""

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
# how cells of text say that a number is not known, and whether something is so
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "-", ".", "?"}
TRUTH = {"true": 1.0, "false": 0.0}
NO_FEATURES = {"M": "dates", "m": "durations", "c": "complex numbers"}  # by numpy's kinds
NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
WITH_COMMA = re.compile(r"[+-]?\d*(,\d+)+(e[+-]?\d+)?", re.IGNORECASE)
NA_OF_PANDAS = " (pandas takes the text NA for missing, unless keep_default_na=False.)"
LISTED = 8  # rows or columns that a message names


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A file's columns by name.

    Attributes:
        path: the file.
        columns: as they stand there; the first axis are the rows, and there may be others. Text
            is stripped, and of dtype object.
        index: the columns that say no more than which row it is, as pandas writes them.
        decimal: what numbers in text have before their fraction.

    """

    path: Path
    columns: Mapping[str, Column]
    index: Sequence[str] = ()
    decimal: Decimal = "."

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def require(self, names: Sequence[str], key: str) -> None:
        """Refuse names that `key` gives and the file does not have.

        Raises:
            UserError: no such column, no column of rows, or columns of different lengths.

        """
        for name in names:
            if name not in self.columns:
                raise UserError(
                    f"{self.path} has no column '{name}' ({key}). {nearest(name, self.columns)}It "
                    f"has: {listed(list(self.columns))}. Correct {key}."
                )
            if not self.columns[name].ndim:
                raise UserError(f"{self.path}: '{name}' is a single value, not a row an example.")
        lengths = {name: len(self.columns[name]) for name in names}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"'{name}' has {length}" for name, length in lengths.items())
            raise UserError(
                f"{self.path}: every example needs its features and its label or target, but "
                f"{told} rows. Save arrays of the same length."
            )

    def numbers(self, names: Sequence[str]) -> list[Numbers]:
        """Columns as finite numbers; true and false are 1 and 0.

        Raises:
            UserError: what is no number, with its row; or all cells that are missing or infinite.

        """
        found = {name: self._numbers(name) for name in names}
        unfit = {name: _not_finite(column) for name, column in found.items()}
        if told := [f"'{name}' in {_rows(rows)}" for name, rows in unfit.items() if rows]:
            raise UserError(
                f"{self.path} has cells that are missing or infinite: {listed(told, '; ')}. Fill "
                "them in, or take these rows out."
            )
        return list(found.values())

    def side_by_side(self, names: Sequence[str]) -> Numbers:
        """Columns as numbers, [rows, all numbers of a row]."""
        parts = [column.reshape(len(column), -1) for column in self.numbers(names)]
        return np.concatenate(parts, 1)

    def texts(self, name: str) -> list[str]:
        """A column as it stands there, as names of files have to be."""
        return ["" if cell is None else str(cell) for cell in self.columns[name].tolist()]

    def labels(self, name: str) -> list[str]:
        """A column as one name a row.

        Raises:
            UserError: several values a row, or missing ones.

        """
        column = self.columns[name]
        if column.ndim != 1 or column.dtype.kind == "c":
            raise UserError(
                f"{self.path}: '{name}' has the shape {column.shape} of {column.dtype}; one value "
                "a row is needed. Save class numbers or names rather than one-hot rows."
            )
        self._require_no_lists(column, name)
        named = column.astype(str) if column.dtype.kind in NO_FEATURES else column
        labels = [to_label(value) for value in named.tolist()]
        if missing := [row for row, label in enumerate(labels, 1) if not label]:
            raise UserError(
                f"{self.path}: '{name}' is missing in {_rows(missing)}. Fill it in, or take the "
                f"row out.{NA_OF_PANDAS if self.path.suffix.lower() == '.parquet' else ''}"
            )
        return labels

    def class_labels(self, name: str) -> list[str]:
        """A column as one class a row.

        Raises:
            UserError: as `labels`; or some are numbers and others are not.

        """
        labels = self.labels(name)
        rows = {bool(NUMBER.fullmatch(label)): row for row, label in enumerate(labels, 1)}
        if len(rows) == 2:
            raise UserError(
                f"{self.path}: '{name}' holds numbers and text: '{labels[rows[True] - 1]}' in row "
                f"{rows[True]}, '{labels[rows[False] - 1]}' in row {rows[False]}. Correct the odd "
                "ones, or write all classes as text, such as 'class 3'."
            )
        return labels

    def _numbers(self, name: str) -> Numbers:
        """A column as numbers, nan where a cell is missing."""
        column = self.columns[name]
        if (what := NO_FEATURES.get(column.dtype.kind)) is not None:
            raise UserError(
                f"{self.path}: '{name}' holds {what}. Write what they mean as numbers (days since "
                "a date, real and imaginary part), or leave the column out of task.features."
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
        """Refuse lists of different lengths: those of one length are further axes."""
        cells = column.tolist() if column.dtype.kind == "O" else []
        if any(isinstance(cell, np.ndarray | list | dict) for cell in cells):
            sizes = [None if cell is None else len(cell) for cell in cells]
            row = next((r for r, size in enumerate(sizes, 1) if size != sizes[0]), 1)
            raise UserError(
                f"{self.path}: '{name}' holds lists of different lengths: {sizes[0]} values in row "
                f"1, {sizes[row - 1]} in row {row}. Give all rows as many, or leave the column out "
                "of task.features."
            )

    def _explain(self, text: str, name: str, row: int) -> str:
        found = f"'{name}' holds {text[:60]!r} in row {row}"
        if WITH_COMMA.fullmatch(text):
            return (
                f"{found}: has it a decimal comma, or thousands? Write the numbers without commas, "
                "or, of a task of arrays, set task.decimal=','."
            )
        return (
            f"{found}, which is no number. Encode it as numbers, or name columns of numbers alone "
            "(task.features)."
        )


def to_label(value: object) -> str:
    """A value as a name: without white space around it, in Unicode's composed form (NFC).

    What is missing is "".
    """
    if value is None or value != value or value == "NaT":
        return ""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return unicodedata.normalize("NFC", text.strip())


def listed(names: Sequence[str], between: str = ", ") -> str:
    """The first names, and how many there are if these are not all."""
    return between.join(names[:LISTED]) + (f" .. ({len(names)})" if names[LISTED:] else "")


def _not_finite(column: Numbers) -> list[int]:
    """The rows, counted from 1, that hold a value which is missing or infinite."""
    is_finite = np.isfinite(column.reshape(len(column), -1))
    return [row for row, cells in enumerate(is_finite.tolist(), 1) if not all(cells)]


def _rows(rows: Sequence[int]) -> str:
    return f"row{'s' if len(rows) > 1 else ''} {listed([str(row) for row in rows])}"
