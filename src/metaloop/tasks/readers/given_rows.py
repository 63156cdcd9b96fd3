"""Read rows of numbers that a user gives in a table."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metaloop.errors import UserError
from metaloop.tasks.readers.arrays import Array
from metaloop.tasks.readers.given import Given
from metaloop.tasks.readers.table import Decimal, Table, list_names
from metaloop.tasks.readers.table_files import read_table

TARGETS = ("label", "target", "y")


class Columns(NamedTuple):
    """Names of the columns in a run's tables.

    Attributes:
        features: in the run's order; a single name is that of an array without column names; None:
            all other columns.
        targets: labels or values to predict; None: a column `label`, `target` or `y`, or several
            that begin with `target_` or `y_`.
        others: further columns, such as data set or split.
        decimal: see read_table.

    """

    features: str | Sequence[str] | None = None
    targets: Sequence[str] | None = None
    others: Sequence[str] = ()
    decimal: Decimal | None = None


def read_rows(
    path: Path, input_shape: tuple[int, ...], *, is_regression: bool, columns: Columns
) -> Given:
    """Read a table's features, by the run's names for them, and its targets if it has them.

    The order of columns does not matter, and unknown columns are left out. A run whose features
    have no names (rows of an array) takes as many columns as it has features.

    Raises:
        UserError: if the features differ from the learner's, or a cell is not a finite number.

    """
    size = math.prod(input_shape)
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, but the run was trained on rows of {size} numbers. Name a CSV "
            "file with one column for each, and one `label` or `target`."
        )
    table = read_table(path, decimal=columns.decimal)
    targets, known = _targets(table, columns, is_regression=is_regression)
    names = _features(table, columns, targets, size)
    inputs = table.side_by_side(names)
    shape = table.columns[names[0]].shape[1:] if len(names) == 1 else inputs.shape[1:]
    if inputs.shape[1] != size or (len(input_shape) > 1 and shape not in ((size,), input_shape)):
        raise UserError(
            f"{path}: its features have the shape {list(shape or (1,))} per row, but the run was "
            f"trained on {list(input_shape)}. Reshape them."
        )
    labels: Sequence[str] | Array | None = None
    if known:
        labels = table.side_by_side(targets) if is_regression else table.class_labels(targets[0])
    extra = [name or "(no name)" for name in table.columns if name not in {*names, *targets}]
    rows = [str(row) for row in range(1, len(inputs) + 1)]
    shown = [name for name in names if table.columns[name].ndim == 1]
    return Given(
        path,
        inputs.reshape(-1, *input_shape),
        rows,
        labels,
        targets,
        names,
        {"row": rows, **{name: table.columns[name].tolist() for name in shown}},
        [f"columns of {path} that are not features of the run: {list_names(extra)}"]
        if extra
        else [],
    )


def _targets(table: Table, columns: Columns, *, is_regression: bool) -> tuple[list[str], bool]:
    """Return the names of the targets, and whether the table has them."""
    if columns.targets is None:
        targets = [n for n in table.columns if n in TARGETS or n.startswith(("target_", "y_"))]
    else:
        targets = list(columns.targets)
    there = [name for name in targets if name in table]
    if there and len(there) < len(targets):
        raise UserError(
            f"{table.path} has the target {list_names(there)} but lacks "
            f"{list_names([n for n in targets if n not in there])}. Add all of them, or none."
        )
    if len(targets) > 1 and not is_regression:
        raise UserError(
            f"{table.path} has several target columns ({list_names(targets)}), but a class has one "
            "`label`. Rename or remove the others."
        )
    return targets, bool(there)


def _features(table: Table, columns: Columns, targets: Sequence[str], size: int) -> list[str]:
    """Return the names of the features in the run's order."""
    features = columns.features
    names = [features] if isinstance(features, str) else list(features or ())
    if not names or (isinstance(features, str) and features not in table):
        left_out = {*targets, *columns.others, *table.index}
        names = [name for name in table.columns if name not in left_out]
        if len(names) != size:
            raise UserError(
                f"{table.path} has {len(names)} features ({list_names(names)}), but the run was "
                f"trained on {size}. Use one column for each, and the target in a column "
                f"{' or '.join(targets or TARGETS)}."
            )
    if lacking := [name for name in names if name not in table]:
        raise UserError(
            f"{table.path} lacks {list_names(lacking)} of the learner's features "
            f"({list_names(names)}); it has {list_names(list(table.columns))}. Name its "
            "columns like the run's: their order does not matter, and further ones are ignored."
        )
    table.require([*names, *(name for name in targets if name in table)], "the run's columns")
    return names
