"""Files that are replaced whole: a reader never sees half of one. Imports no torch."""

import json
import os
from collections.abc import Mapping
from pathlib import Path


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write next to the target, then rename."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write next to the target, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # not that of the file beside it
        temporary.unlink(missing_ok=True)
        raise
