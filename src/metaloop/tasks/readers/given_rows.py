"""Rows of numbers that a user gives in a CSV file."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metaloop.errors import UserError
from metaloop.tasks.readers.arrays import Array
from metaloop.tasks.readers.given import Given, read_csv

TARGETS = ("label", "target", "y")


def read_rows(
    path: Path,
    input_shape: tuple[int, ...],
    *,
    is_regression: bool,
    features: Sequence[str] | None = None,
) -> Given:
    """Read a CSV file's features and, where it has them, targets.

    A column `label`, `target` or `y`, or several that begin with `target_` or `y_`, is the
    target; all others are features, in the file's order or in that of `features`.

    Raises:
        UserError: other features than the learner's, or a cell that is no finite number.

    """
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, but the run was trained on rows of {math.prod(input_shape)} "
            "numbers. Name a CSV file with a column for each and one `label` or `target`."
        )
    header, rows = read_csv(path)
    targets = [n for n in header if n in TARGETS or n.startswith(("target_", "y_"))]
    found = [n for n in header if n not in targets]
    if features is not None:
        if set(found) != set(features):
            raise UserError(
                f"{path} has the features {', '.join(found)}, but the support set has "
                f"{', '.join(features)}. Name the same columns in both."
            )
        found = list(features)
    wanted = math.prod(input_shape)
    if len(found) != wanted:
        raise UserError(
            f"{path} has {len(found)} features ({', '.join(found[:6])}), but the run was trained "
            f"on {wanted}. Give it one column for each, and the target in a column `label`, "
            "`target` or `y`."
        )
    if len(targets) > 1 and not is_regression:
        raise UserError(
            f"{path} has several columns of targets ({', '.join(targets)}); a class has one "
            "`label`. Rename or take out the others."
        )
    values = _numbers(path, header, rows, found).reshape(len(rows), *input_shape)
    labels: list[str] | Array | None = None
    if targets:
        if is_regression:
            labels = _numbers(path, header, rows, targets)
        else:
            labels = [row[header.index(targets[0])] for row in rows]
            if "" in labels:
                raise UserError(
                    f"{path} has no {targets[0]} in row {labels.index('') + 1}. Label all rows, or "
                    "leave the column out."
                )
    names = [str(row) for row in range(1, len(rows) + 1)]
    columns = {"row": names, **{name: [row[header.index(name)] for row in rows] for name in found}}
    return Given(path, values, names, labels, targets, found, columns)


def _numbers(path: Path, header: list[str], rows: list[list[str]], columns: list[str]) -> Array:
    numbers = np.empty((len(rows), len(columns)))
    for j, name in enumerate(columns):
        place = header.index(name)
        for i, row in enumerate(rows):
            try:
                numbers[i, j] = float(row[place])
            except ValueError:
                numbers[i, j] = np.nan
            if not np.isfinite(numbers[i, j]):
                raise UserError(
                    f"{path}, row {i + 1}: {name}={row[place]!r} is no finite number. Fill it in, "
                    "or take the row out."
                )
    return numbers
