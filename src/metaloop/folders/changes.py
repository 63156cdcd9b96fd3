"""changes.json: changes to a run that the user accepted, and the write that applies them.

Imports no torch, so that commands stay fast.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from metaloop.folders.atomic_write import write_json
from metaloop.folders.reading import parse_json, read_text

REMEDY = "Delete it, then accept the changes again: metaloop-resume FOLDER --accept-changes."


@dataclass(frozen=True)
class Accepted:
    """Changes accepted at a meta-step: values before and after, by key."""

    meta_step: int
    changes: dict[str, tuple[object, object]]


@dataclass(frozen=True)
class Decided:
    """New texts of config.yaml and overrides.yaml, which are replaced together."""

    config: str
    overrides: str


@dataclass(frozen=True)
class Changes:
    """Everything that was accepted, and a change whose files are not written yet."""

    accepted: Sequence[Accepted] = field(default_factory=list)
    decided: Decided | None = None


def read_changes(path: Path) -> Changes:
    """Read changes.json; empty if there is none.

    Raises:
        UserError: if it cannot be read.

    """
    text = read_text(path, REMEDY)
    return Changes() if text is None else parse_json(text, path, Changes, REMEDY)


def write_changes(path: Path, changes: Changes) -> None:
    """Replace changes.json, or remove it if it would be empty."""
    content = {name: value for name, value in asdict(changes).items() if value}
    if content:
        write_json(path, content)
    else:
        path.unlink(missing_ok=True)
