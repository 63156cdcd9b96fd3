"""changes.json: what a user wanted otherwise of a run, and the one write that makes it so.

Imports no torch: commands stay quick.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from metaloop.folders.atomic_write import write_json
from metaloop.folders.reading import parse_json, read_text

REMEDY = "Delete it, and accept the changes again: metaloop-resume FOLDER --accept-changes."


@dataclass(frozen=True)
class Accepted:
    """What the user wanted otherwise from a meta-step on: before and after, by key."""

    meta_step: int
    changes: dict[str, tuple[object, object]]


@dataclass(frozen=True)
class Decided:
    """The texts of config.yaml and overrides.yaml that a change replaces together."""

    config: str
    overrides: str


@dataclass(frozen=True)
class Changes:
    """All that was accepted, and a change that is not yet written into its own files."""

    accepted: Sequence[Accepted] = field(default_factory=list)
    decided: Decided | None = None


def read_changes(path: Path) -> Changes:
    """Read changes.json; nothing where there is none.

    Raises:
        UserError: it cannot be read.

    """
    text = read_text(path, REMEDY)
    return Changes() if text is None else parse_json(text, path, Changes, REMEDY)


def write_changes(path: Path, changes: Changes) -> None:
    """Replace changes.json, or remove it where it would say nothing."""
    content = {name: value for name, value in asdict(changes).items() if value}
    if content:
        write_json(path, content)
    else:
        path.unlink(missing_ok=True)
