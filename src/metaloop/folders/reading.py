"""Reading what a run has written: a file that cannot be read is named, whoever asked.

Every reader of a record goes through here, with the remedy that fits its file. Imports no torch:
commands stay quick.
"""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from metaloop.errors import UserError

Shape = TypeVar("Shape")


def unreadable(path: Path, reason: str, remedy: str) -> UserError:
    """Name a file that cannot be read, why, and what to do."""
    return UserError(f"{path} cannot be read: {reason}. {remedy}")


def read_text(path: Path, remedy: str) -> str | None:
    """Read a text file whole; None where there is none.

    Raises:
        UserError: it is a folder, no text, or not to be opened.

    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise unreadable(path, f"it is no text, from byte {error.start} on", remedy) from error
    except OSError as error:
        raise unreadable(path, explain(error), remedy) from error


def explain(error: OSError) -> str:
    """Say in words why a file could not be opened or written."""
    return (error.strerror or str(error)).lower()


def parse_json(text: str, path: Path, shape: type[Shape], remedy: str) -> Shape:
    """Read JSON of this shape: a dataclass, of whose keys more may be there, or a plain type.

    Raises:
        UserError: it is empty, cut short, or of another shape.

    """
    from pydantic import TypeAdapter, ValidationError  # here: commands that only help need none

    try:
        return TypeAdapter(shape).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = _or_empty(text, f"{place}: {first['msg']}".removeprefix(": "))
        raise unreadable(path, reason, remedy) from error


def parse_yaml(
    text: str, path: Path, read: Callable[[io.StringIO], object], kind: type[Shape], remedy: str
) -> Shape:
    """Read YAML by `read`, which makes a `kind` of it.

    Raises:
        UserError: it is empty, no YAML, or of another kind.

    """
    try:
        content = read(io.StringIO(text))
    except Exception as error:  # YAML's errors and OmegaConf's have no class in common
        reason = _or_empty(text, " ".join(str(error).split()) or type(error).__name__)
        raise unreadable(path, reason, remedy) from error
    if not isinstance(content, kind) or not text.strip():
        reason = _or_empty(text, f"it holds a {type(content).__name__}, no {kind.__name__}")
        raise unreadable(path, reason, remedy)
    return content


def parse_csv(text: str, path: Path, remedy: str) -> list[dict[str, str]]:
    """Read the rows of a CSV file; a last line that was cut short is left out.

    Raises:
        UserError: a row is of another length than its header.

    """
    whole = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(io.StringIO(whole), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise unreadable(path, f"line {reader.line_num}: {error}", remedy) from error
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise unreadable(path, f"line {number} has not as many cells as the header", remedy)
    return rows


def _or_empty(text: str, reason: str) -> str:
    return reason if text.strip() else "it is empty"
