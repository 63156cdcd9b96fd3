"""Named columns from NPZ, CSV or Parquet, checked, each complaint with its file and row."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from metaloop.errors import UserError, nearest
from metaloop.tasks.sources.safe_npz import read_npz

Column = np.ndarray[tuple[int, ...], np.dtype[np.generic]]
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Table = dict[str, Column]  # a column may have further axes; the first are the rows


def read_table(path: Path) -> Table:
    """Read all columns of a file, by its ending: .npz, .csv or .parquet.

    Raises:
        UserError: it is not there, damaged, of another kind, or holds pickled objects.

    """
    readers = {".npz": _read_npz, ".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise UserError(
            f"{path} ends with '{path.suffix}'. Arrays are read from {', '.join(readers)}; save "
            "them as one of these."
        )
    require_file(path)
    table = readers[path.suffix.lower()](path)
    lengths = {name: len(column) for name, column in table.items() if column.ndim}
    if not lengths or not max(lengths.values()):
        raise UserError(f"{path} has no rows. A row an example is needed.")
    return table


def require_file(path: Path) -> None:
    """Refuse a table that is not there."""
    if not path.is_file():
        raise UserError(f"{path} is no file. Correct task.data_dir and task.file.")


def pick(table: Table, names: Sequence[str], path: Path, key: str) -> list[Column]:
    """The columns of these names.

    Raises:
        UserError: a name that the file has not, or columns of different lengths.

    """
    for name in names:
        if name not in table:
            raise UserError(
                f"{path} has no column '{name}' ({key}). {nearest(name, table)}It has: "
                f"{', '.join(list(table)[:12])}. Correct {key}."
            )
        if not table[name].ndim:
            raise UserError(f"{path}: '{name}' is a single number, not a row an example.")
    return [table[name] for name in names]


def require_same_length(columns: Mapping[str, Column], path: Path) -> None:
    """Refuse columns that belong together and have different numbers of rows."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{name}' has {length}" for name, length in lengths.items())
        raise UserError(
            f"{path}: every example needs its features and its label or target, but {listed} "
            "rows. Save arrays of the same length."
        )


def to_numbers(column: Column, name: str, path: Path) -> Numbers:
    """A column as finite numbers.

    Raises:
        UserError: text, NaN or infinity, with the first row that has it.

    """
    try:
        numbers: Numbers = column.astype(np.float64)
    except (ValueError, TypeError) as error:
        row = next(i for i, value in enumerate(column.tolist()) if not _is_number(value))
        raise UserError(
            f"{path}: '{name}' holds {column[row]!r} in row {row + 1}, which is no number. Encode "
            "it as numbers, or leave the column out of task.features."
        ) from error
    unfit = np.flatnonzero(~np.isfinite(numbers).reshape(len(numbers), -1).all(1))
    if len(unfit):
        raise UserError(
            f"{path}: '{name}' holds NaN or infinity in {len(unfit)} rows, the first is row "
            f"{unfit[0] + 1}. A learner cannot take them: fill them in, or take these rows out."
        )
    return numbers


def to_labels(column: Column, name: str, path: Path) -> list[str]:
    """A column as one name a row.

    Raises:
        UserError: several values a row, or a missing one.

    """
    if column.ndim != 1:
        raise UserError(
            f"{path}: '{name}' has the shape {column.shape}; one value a row is needed. Save class "
            "numbers or names rather than one-hot rows."
        )
    for row, value in enumerate(column.tolist()):
        if value is None or value != value or value == "":
            raise UserError(
                f"{path}: '{name}' is missing in row {row + 1}. Fill it in, or take the row out."
            )
    return [str(value) for value in column.tolist()]


def _is_number(value: object) -> bool:
    try:
        np.asarray(value).astype(np.float64)
    except (ValueError, TypeError):
        return False
    return True


def _read_npz(path: Path) -> Table:
    return read_npz(path, "Save it again.")


def _read_csv(path: Path) -> Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"{path} is no CSV file in UTF-8 ({error}). Save it again.") from error
    if not lines:
        raise UserError(f"{path} is empty. Its first line has to name the columns.")
    header, rows = lines[0], lines[1:]
    if len(set(header)) < len(header):
        raise UserError(f"{path}: its first line names a column twice. Rename one of them.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise UserError(
                f"{path}: row {number} has {len(row)} values, but the first line names "
                f"{len(header)} columns. Correct the row (text with commas wants quotes)."
            )
    columns = zip(*rows, strict=True) if rows else ((),) * len(header)
    return {n: np.array(values, dtype=str) for n, values in zip(header, columns, strict=True)}


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"{path} needs the package pyarrow. Install it with pip install 'metaloop[tables]', or "
            "save the data as CSV or NPZ."
        ) from error
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is no whole Parquet file ({error}). Save it again.") from error
    return {n: table[n].to_numpy(zero_copy_only=False) for n in table.column_names}
