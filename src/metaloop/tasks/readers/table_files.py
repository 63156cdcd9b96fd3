"""Read tables from NPZ, Parquet and text files."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metaloop.errors import UserError
from metaloop.tasks.readers.table import WITH_COMMA, Column, Decimal, Table, to_label
from metaloop.tasks.sources.safe_npz import read_npz

if TYPE_CHECKING:
    import pyarrow  # an extra

# separators of cells in text files, with their names
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'"}
TEXTS = (".csv", ".tsv")
TABLES = (*TEXTS, ".parquet", ".npz")
INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")  # pandas' names of row numbers
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
WITH_POINT = re.compile(r"[+-]?\d*\.\d+(e[+-]?\d+)?", re.IGNORECASE)


def read_table(path: Path, *, decimal: Decimal | None = None, key: str = "its name") -> Table:
    """Read all columns of a file, by its suffix: .csv, .tsv, .parquet or .npz.

    Args:
        path: the file. Text must be UTF-8, with column names in its first line, separated by
            commas, semicolons, tabs or |.
        decimal: decimal separator of numbers in text; None takes a comma if cells such as 2,5
            leave no doubt.
        key: the setting that names the file, for messages.

    Raises:
        UserError: if it does not exist, is damaged, of another kind, without rows, or contains
            pickled objects.

    """
    ending = path.suffix.lower()
    if ending not in TABLES:
        raise UserError(
            f"{path} ends with '{path.suffix}'. Tables must be {', '.join(TABLES)} files; save "
            "it as one of these."
        )
    require_file(path, key)
    if ending == ".npz":
        arrays = read_npz(path, "Save it again.")
        table = Table(path=path, columns={to_label(name): a for name, a in arrays.items()})
    elif ending == ".parquet":
        table = _read_parquet(path)
    else:
        table = _read_text(path, decimal)
    if not max((len(column) for column in table.columns.values() if column.ndim), default=0):
        raise UserError(f"{path} has no rows, but needs one per example.")
    return table


def require_file(path: Path, key: str = "its name") -> None:
    """Refuse a table that does not exist; `key` is the setting that names it."""
    if not path.is_file():
        raise UserError(f"{path} is not a file. Correct {key}.")


def _read_text(path: Path, decimal: Decimal | None) -> Table:
    try:
        text = path.read_text(encoding="utf-8-sig").lstrip("\n")
        first, _, rest = text.partition("\n")
        if (named := re.fullmatch("sep=(.)", first)) is not None:  # Excel's
            text, separator = rest, named[1]
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else _recognise(first)
        lines = list(csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(
            f"{path} is not a table in UTF-8 text ({error}). Save it again, as CSV UTF-8."
        ) from error
    header, *rows = [line for line in lines if any(map(str.strip, line))] or [[]]
    if not header:
        raise UserError(f"{path} is empty. Its first line must name the columns.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise UserError(
                f"{path}: row {number} has {len(row)} values, but the first line names "
                f"{len(header)} columns ({', '.join(header)}), separated by "
                f"{SEPARATORS.get(separator, separator)}. Correct the row; put quotes around text "
                "that contains a separator."
            )
    columns = _named(path, header, [[cell.strip() for cell in row] for row in rows])
    cells = [cell for column in columns.values() for cell in column]
    return Table(
        path=path,
        columns={name: np.array(column, dtype=object) for name, column in columns.items()},
        index=[name for name in columns if INDEX.fullmatch(name)],
        decimal=decimal or _recognise_decimal(cells),
    )


def _recognise(header: str) -> str:
    """Find the separator that splits the first line into the most columns."""
    return max(SEPARATORS, key=lambda s: len(next(csv.reader([header], delimiter=s), [])))


def _recognise_decimal(cells: Sequence[str]) -> Decimal:
    """Find a decimal comma if some cell can mean nothing else: 2,5 or 0,125, but not 1,250."""
    with_comma = any(
        "," in cell and WITH_COMMA.fullmatch(cell) and not THOUSANDS.fullmatch(cell)
        for cell in cells
    )
    return "," if with_comma and not any(map(WITH_POINT.fullmatch, cells)) else "."


def _named(path: Path, header: Sequence[str], rows: list[list[str]]) -> dict[str, Sequence[str]]:
    """Return the columns by name, without those that have neither name nor values."""
    names = [to_label(name) for name in header]
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    kept = [(n, c) for n, c in zip(names, columns, strict=True) if n or any(c)]
    found: dict[str, Sequence[str]] = {}
    for name, column in kept:
        if name in found:
            raise UserError(
                f"{path}: its first line names the column '{name}' twice. Rename one of them."
            )
        found[name] = column
    return found


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
        raise UserError(
            f"{path} is not a complete Parquet file ({error}). Save it again."
        ) from error
    index = (table.schema.pandas_metadata or {}).get("index_columns", ())
    return Table(
        path=path,
        columns={to_label(name): _as_array(table[name]) for name in table.column_names},
        index=[to_label(n) for n in table.column_names if n in index or INDEX.fullmatch(n)],
    )


def _as_array(column: "pyarrow.ChunkedArray") -> Column:
    """Convert a Parquet column; lists of one length, none of them missing, become axes."""
    import pyarrow
    from pyarrow import compute

    kinds = pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list
    if any(is_kind(column.type) for is_kind in kinds):
        lengths = set(compute.list_value_length(column).to_pylist())
        if len(lengths) == 1 and lengths.isdisjoint({None, 0}):
            inner = _as_array(compute.list_flatten(column))
            return inner.reshape(len(column), *lengths, *inner.shape[1:])
    array: Column = column.to_numpy(zero_copy_only=False)
    return array
