"""List a folder's files as users see them: links followed, without files that programs leave."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

# files of file managers and archivers; names that begin with a dot are skipped too
LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"}
SHOWN = 10


def visible(folder: Path) -> list[Path]:
    """List everything in a folder that the user put there, by name."""
    return sorted(path for path in folder.iterdir() if is_visible(path.name))


def is_visible(name: str) -> bool:
    """Check whether a file or folder of this name was put there by the user."""
    return not name.startswith(".") and name.lower() not in LITTER


def files_below(folder: Path) -> Iterator[Path]:
    """List every file below a folder, following links; each folder is visited once."""
    seen = {os.path.realpath(folder)}
    for place, folders, files in os.walk(folder, followlinks=True):
        yield from (Path(place, name) for name in sorted(files))
        real = {name: os.path.realpath(Path(place, name)) for name in sorted(folders)}
        folders[:] = [name for name, path in real.items() if path not in seen]
        seen.update(real.values())


def list_some(things: Sequence[str]) -> str:
    """List the first of many things, one per line, and the number of the others."""
    more = [f"and {len(things) - SHOWN} more"] if len(things) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*things[:SHOWN], *more])


def explain_unusable(reasons: Sequence[str], remedy: str) -> str:
    """Explain why files cannot be used, listing the first ten."""
    if len(reasons) == 1:
        return f"{reasons[0]} {remedy}"
    return f"{len(reasons)} files cannot be used:{list_some(reasons)}\n{remedy}"
