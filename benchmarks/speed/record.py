"""What measured values are kept with: the command, processor and versions that made them."""

import json
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

from metaloop.run.config.environment import processor

PACKAGES = (
    *("torch", "learn2learn", "higher", "torchopt", "iteryne", "parallel-metalearn"),
    *("jax", "numpy"),
)
PLACES = {"--data-dir": "OMNIGLOT", "--out": "OUT", "--plot": "PLOT"}  # where a user has them


class Made(TypedDict):
    """How values were made."""

    command: str
    processor: str
    threads: int
    versions: dict[str, str]


def made(threads: int) -> Made:
    """Describe this process."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return Made(command=_command(), processor=processor(), threads=threads, versions=versions)


def in_words(made: Made) -> str:
    """Say it in one line of Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    machine = f"{made['threads']} threads of {made['processor']}"
    return f"`{made['command']}`, {machine}; {versions}."


def save(record: Mapping[str, object], tables: str, out: Path) -> None:
    """Write OUT.json, and its tables as OUT.md."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    out.with_suffix(".md").write_text(tables + "\n")


def _command() -> str:
    words, shown = sys.argv[1:], [f"python benchmarks/{Path(sys.argv[0]).name}"]
    for before, word in zip(["", *words], words, strict=False):
        shown.append(PLACES.get(before, shlex.quote(word)))
    return " ".join(shown)
