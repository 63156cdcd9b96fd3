"""Examples that a user gives to adapt to, or to predict."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metaloop.errors import UserError
from metaloop.tasks.readers.arrays import Array


class Given(NamedTuple):
    """Examples as a task has read them.

    Attributes:
        place: the folder or file.
        inputs: [rows, *X], as `Task.encode` takes them.
        names: of each example: its file, relative to the place, or its row.
        labels: a class or a target for each; None where they are not known.
        targets: the names of the columns that the targets came from.
        features: the names of the columns that the inputs came from.
        columns: what the place says of each example, to be shown next to its prediction.
        skipped: the files that were left out, with the reason.

    """

    place: Path
    inputs: Array
    names: list[str]
    labels: Sequence[str] | Array | None
    targets: Sequence[str] = ()
    features: Sequence[str] = ()
    columns: Mapping[str, Sequence[object]] = {}
    skipped: Sequence[str] = ()


def require_place(place: Path, key: str) -> None:
    """Refuse a place of examples that does not exist.

    Raises:
        UserError: neither a folder nor a CSV file.

    """
    if not place.exists():
        raise UserError(
            f"There is no {key}={place}. Name a folder with a folder for each class, or a CSV file."
        )
    if place.is_file() and place.suffix.lower() != ".csv":
        raise UserError(
            f"{key}={place} is a {place.suffix or 'file without ending'}, not a folder or .csv. "
            "Write the examples as a CSV file, or name a folder of images."
        )


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file; rows that are empty are left out.

    Raises:
        UserError: no text, no rows, a column twice, or a row of another length.

    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            rows = []
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(header):
                    raise UserError(
                        f"{path}, line {reader.line_num}: {len(row)} cells under a header of "
                        f"{len(header)} columns ({', '.join(header)}). Mend the line."
                    )
                rows.append([cell.strip() for cell in row])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV text in UTF-8 ({error}). Save it as that.") from error
    if not rows:
        raise UserError(
            f"{path} has no rows under its header. Write a line of column names, then a line for "
            "each example."
        )
    if twice := [name for name in header if header.count(name) > 1]:
        raise UserError(f"{path} has two columns '{twice[0]}'. Give each column its own name.")
    return header, rows
