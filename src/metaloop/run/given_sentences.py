"""Sentences that a user gives in a CSV file."""

from pathlib import Path

from metaloop.errors import UserError
from metaloop.run.given import Given, read_table


def find_sentences(path: Path) -> Given:
    """Read a CSV file's columns `sentence` and, where it has it, `label`.

    Raises:
        UserError: no such column, or an empty cell in it.

    """
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, but the run was trained on sentences. Name a CSV file with the "
            "columns `sentence` and `label`."
        )
    header, rows = read_table(path)
    if "sentence" not in header:
        raise UserError(
            f"{path} has the columns {', '.join(header)}; the run was trained on sentences. Give "
            "it a column `sentence` and a column `label`."
        )
    columns = {name: [row[header.index(name)] for row in rows] for name in header}
    for name in ("sentence", "label"):
        if "" in columns.get(name, []):
            raise UserError(
                f"{path} has no {name} in row {columns[name].index('') + 1}. Fill it in, or take "
                "the row out."
            )
    names = [str(row) for row in range(1, len(rows) + 1)]
    return Given(path, names, columns.get("label"), sentences=columns["sentence"])
