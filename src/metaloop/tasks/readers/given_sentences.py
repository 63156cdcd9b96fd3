"""Read sentences that a user gives in a table."""

from pathlib import Path

import numpy as np

from metaloop.errors import UserError
from metaloop.tasks.readers.given import Given
from metaloop.tasks.readers.table import list_names
from metaloop.tasks.readers.table_files import read_table


def read_sentences(path: Path) -> Given:
    """Read a table's column `sentence` and, if there is one, `label`.

    Raises:
        UserError: if there is no such column, or one of its cells is empty.

    """
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, but the run was trained on sentences. Name a CSV file with a "
            "column `sentence`, and `label` if the labels are known."
        )
    table = read_table(path)
    if "sentence" not in table:
        raise UserError(
            f"{path} has no column `sentence` (it has {list_names(list(table.columns))}), but "
            "the run was trained on sentences. Rename the column with the texts."
        )
    sentences = table.labels("sentence")
    names = [str(row) for row in range(1, len(sentences) + 1)]
    return Given(
        path,
        np.array(sentences),
        names,
        table.labels("label") if "label" in table else None,
        ["label"],
        columns={"row": names, "sentence": sentences},
    )
