"""Read the files of a run; an unreadable file is always reported by name and with a remedy.

All readers of a run's files use this module. Imports no torch, so that commands stay fast.
"""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from metaloop.errors import UserError

Shape = TypeVar("Shape")


def unreadable(path: Path, reason: str, remedy: str) -> UserError:
    """Describe a file that cannot be read, with reason and remedy."""
    return UserError(f"{path} cannot be read: {reason}. {remedy}")


def read_text(path: Path, remedy: str) -> str | None:
    """Read a whole text file; None if there is none.

    Raises:
        UserError: if it is a folder, not text, or cannot be opened.

    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise unreadable(path, f"it is not text from byte {error.start} on", remedy) from error
    except OSError as error:
        raise unreadable(path, explain(error), remedy) from error


def explain(error: OSError) -> str:
    """Explain why a file could not be opened or written."""
    return (error.strerror or str(error)).lower()


def parse_json(text: str, path: Path, shape: type[Shape], remedy: str) -> Shape:
    """Parse JSON into a plain type or a dataclass, whose unknown keys are ignored.

    Raises:
        UserError: if it is empty, truncated, or has another shape.

    """
    from pydantic import TypeAdapter, ValidationError  # slow, and not needed for --help

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
    """Parse YAML by `read`, which must return a `kind`.

    Raises:
        UserError: if it is empty, not YAML, or of another kind.

    """
    try:
        content = read(io.StringIO(text))
    except Exception as error:  # YAML and OmegaConf share no error class
        reason = _or_empty(text, " ".join(str(error).split()) or type(error).__name__)
        raise unreadable(path, reason, remedy) from error
    if not isinstance(content, kind) or not text.strip():
        reason = _or_empty(text, f"it holds a {type(content).__name__}, not a {kind.__name__}")
        raise unreadable(path, reason, remedy)
    return content


def parse_csv(text: str, path: Path, remedy: str) -> list[dict[str, str]]:
    """Parse the rows of a CSV file; a truncated last line is ignored.

    Raises:
        UserError: if a row and the header differ in length.

    """
    whole = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(io.StringIO(whole), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise unreadable(path, f"line {reader.line_num}: {error}", remedy) from error
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise unreadable(path, f"line {number} and the header differ in length", remedy)
    return rows


def _or_empty(text: str, reason: str) -> str:
    return reason if text.strip() else "it is empty"
