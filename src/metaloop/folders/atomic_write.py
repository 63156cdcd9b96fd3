"""Write files atomically: a reader never sees half of one. Imports no torch."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from metaloop.user_text import for_spreadsheet


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write to a temporary file next to the target, then rename it."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_table(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file whose cells are never formulas, via a temporary file."""
    text = io.StringIO()
    csv.writer(text).writerows([for_spreadsheet(cell) for cell in row] for row in rows)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write to a temporary file next to the target, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # not the temporary file's
        temporary.unlink(missing_ok=True)
        raise
