"""Files of a folder as a user sees them: links followed, nothing that programs leave behind."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

# what file managers and archivers leave behind; so are names that begin with a dot
LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"}
SHOWN = 10


def visible(folder: Path) -> list[Path]:
    """Everything in a folder that the user put there, by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in LITTER
    )


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, links followed; a folder that holds itself is gone into once."""
    seen = {os.path.realpath(folder)}
    for place, folders, files in os.walk(folder, followlinks=True):
        yield from (Path(place, name) for name in sorted(files))
        real = {name: os.path.realpath(Path(place, name)) for name in sorted(folders)}
        folders[:] = [name for name, path in real.items() if path not in seen]
        seen.update(real.values())


def list_some(things: Sequence[str]) -> str:
    """The first of many things, a line each, and how many more there are."""
    more = [f"and {len(things) - SHOWN} more"] if len(things) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*things[:SHOWN], *more])


def explain_unusable(reasons: Sequence[str], remedy: str) -> str:
    """Say of every file that cannot be used what is wrong, the first ten by name."""
    if len(reasons) == 1:
        return f"{reasons[0]} {remedy}"
    return f"{len(reasons)} files cannot be used:{list_some(reasons)}\n{remedy}"
