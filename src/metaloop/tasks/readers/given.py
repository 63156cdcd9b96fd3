"""Examples that a user gives for adaptation or prediction."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metaloop.errors import UserError
from metaloop.tasks.readers.arrays import Array
from metaloop.tasks.readers.table_files import TABLES


class Given(NamedTuple):
    """Examples read by a task.

    Attributes:
        place: the folder or file.
        inputs: [rows, *X], the input of `Task.encode`.
        names: name of each example: its file, relative to the place, or its row.
        labels: a class or a target for each; None if unknown.
        targets: names of the columns of the targets.
        features: names of the columns of the inputs.
        columns: descriptions of each example, to be shown next to its prediction.
        skipped: files and columns that were left out, with the reason.

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
    """Refuse a path of examples that is neither a folder nor a table.

    Raises:
        UserError: if it is neither.

    """
    if not place.exists():
        raise UserError(
            f"There is no {key}={place}. Name a folder with one folder per class, or a table "
            f"({', '.join(TABLES)})."
        )
    if place.is_file() and place.suffix.lower() not in TABLES:
        raise UserError(
            f"{key}={place} is a {place.suffix or 'file without suffix'}, not a folder or "
            f"{', '.join(TABLES)}. Save the examples as a CSV file, or name a folder of images."
        )
