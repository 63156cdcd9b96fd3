"""Examples that a user gives for adaptation or prediction."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metaloop.errors import UserError
from metaloop.tasks.readers.arrays import Array
from metaloop.tasks.readers.table import list_names
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


class ExampleFiles(NamedTuple):
    """Files of examples, as arguments of metaloop-adapt, and what the files contain."""

    arguments: Sequence[str]
    content: str


ANY_FILES = ExampleFiles(["support=LABELLED", "query=REST"], "tables (.csv), or folders of images")


def name_files(input_shape: Sequence[int], values: int | None) -> ExampleFiles:
    """Name folders of images, or tables of numbers.

    Args:
        input_shape: X, with three dimensions if inputs are images.
        values: number of values to predict for each example; None for its class.

    """
    if len(input_shape) == 3:
        content = "LABELLED has a folder of images for each class, REST images"
        return ANY_FILES._replace(content=content)
    targets = ["label"] if values is None else _number_columns("y", values)
    return name_tables(_number_columns("x", math.prod(input_shape)), targets)


def name_tables(features: Sequence[str], targets: Sequence[str]) -> ExampleFiles:
    """Name two tables, the second without the targets."""
    known, wanted = list_names(features), list_names(targets)
    content = f"LABELLED.csv has the columns {known} and {wanted}, REST.csv has {known}"
    return ExampleFiles(["support=LABELLED.csv", "query=REST.csv"], content)


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


def _number_columns(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}_{i}" for i in range(1, count + 1)]
