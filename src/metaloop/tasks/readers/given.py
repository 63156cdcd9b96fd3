"""Examples that a user gives to adapt to, or to predict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metaloop.errors import UserError
from metaloop.tasks.readers.arrays import Array
from metaloop.tasks.readers.table_files import TABLES


class Given(NamedTuple):
    """Examples as a task has read them.

    Attributes:
        place: the folder or file.
        inputs: [rows, *X], as `Task.encode` takes them.
        names: of each example: its file, relative to the place, or its row.
        labels: a class or a target for each; None where they are not known.
        targets: the names of the columns that the targets come from.
        features: the names of the columns that the inputs came from.
        columns: what the place says of each example, to be shown next to its prediction.
        skipped: the files and columns that were left out, with the reason.

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
        UserError: neither a folder nor a table.

    """
    if not place.exists():
        raise UserError(
            f"There is no {key}={place}. Name a folder with a folder for each class, or a table "
            f"({', '.join(TABLES)})."
        )
    if place.is_file() and place.suffix.lower() not in TABLES:
        raise UserError(
            f"{key}={place} is a {place.suffix or 'file without ending'}, not a folder or "
            f"{', '.join(TABLES)}. Write the examples as a CSV file, or name a folder of images."
        )
