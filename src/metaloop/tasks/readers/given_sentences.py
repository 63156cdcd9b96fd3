"""Sentences that a user gives in a CSV file."""

from pathlib import Path

import numpy as np

from metaloop.errors import UserError
from metaloop.tasks.readers.given import Given, read_csv


def read_sentences(path: Path) -> Given:
    """Read a CSV file's column `sentence` and, where it has one, `label`.

    Raises:
        UserError: no such column, or a cell of it that is empty.

    """
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, but the run was trained on sentences. Name a CSV file with a "
            "column `sentence`, and `label` where the labels are known."
        )
    header, rows = read_csv(path)
    if "sentence" not in header:
        raise UserError(
            f"{path} has no column `sentence` (it has {', '.join(header[:6])}), but the run was "
            "trained on sentences. Name the column of the texts so."
        )
    columns = {name: [row[header.index(name)] for row in rows] for name in header}
    for name in ("sentence", "label"):
        if "" in columns.get(name, []):
            raise UserError(
                f"{path} has no {name} in row {columns[name].index('') + 1}. Fill it in, or take "
                "the row out."
            )
    names = [str(row) for row in range(1, len(rows) + 1)]
    return Given(
        path,
        np.array(columns["sentence"]),
        names,
        columns.get("label"),
        ["label"] if "label" in columns else [],
        columns={"row": names, "sentence": columns["sentence"]},
    )
