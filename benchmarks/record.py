"""Keep what a benchmark measured, with the command, commit and machine, and its tables.

    python benchmarks/record.py       # writes the tables of all records again

A record is a JSON file: the benchmark that made it, and its parts, each with how it was made. What
is measured again replaces its part. The tables beside it, which the documents include, are made
from the record alone by the benchmark's function `tables`.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

RECORDS = Path(__file__).with_name("records")
PACKAGES = (
    *("torch", "learn2learn", "higher", "torchopt", "iteryne", "parallel-metalearn"),
    *("jax", "numpy", "torchvision", "timm", "transformers"),
)
# options whose values are places of a user's own, and the words for these
PLACES = {
    **{"--data-dir": "DATA", "--omniglot": "DATA", "--cifar": "CIFAR"},
    **{"--out": "OUT", "--plot": "PLOT", "--runs": "RUNS", "--reference": "REFERENCE"},
}
Part = Mapping[str, Any]


class Made(TypedDict):
    """How values were made."""

    command: str
    commit: str | None
    processor: str
    threads: int
    versions: dict[str, str]


def made(threads: int) -> Made:
    """Describe this process."""
    # here, since it imports torch, and adjoint_memory.py must not before it has measured
    from metaloop.run.config.environment import processor

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return Made(
        command=command_line(),
        commit=_commit(),
        processor=processor(),
        threads=threads,
        versions=versions,
    )


def how_made(made: Made) -> str:
    """Say it in one line of Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    threads = "1 thread" if made["threads"] == 1 else f"{made['threads']} threads"
    commit = "" if made["commit"] is None else f"commit {made['commit']}, "
    return f"`{made['command']}`, {commit}{threads} of {made['processor']}; {versions}."


def plus_minus(mean: float, half_width: float | None, percent: bool) -> str:
    """Format a mean with the half-width of its interval."""
    scale, digits = (100, 1) if percent else (1, 3)
    if half_width is None:
        return f"{scale * mean:.{digits}f}"
    return f"{scale * mean:.{digits}f} +/- {scale * half_width:.{digits}f}"


def command_line() -> str:
    """Return this process's command, with words in place of a user's folders."""
    words, shown = sys.argv[1:], [f"python benchmarks/{Path(sys.argv[0]).name}"]
    for before, word in zip(["", *words], words, strict=False):
        shown.append(PLACES.get(before, shlex.quote(word)))
    return " ".join(shown)


def read(out: Path | None) -> dict[str, Part]:
    """Return the parts of the record OUT.json, none if there is no such file."""
    path = out and out.with_suffix(".json")
    return json.loads(path.read_text())["parts"] if path and path.is_file() else {}


def save(parts: Mapping[str, Part], tables: str, out: Path) -> None:
    """Write OUT.json, and its tables as OUT.md."""
    record = {"benchmark": Path(sys.argv[0]).stem, "parts": parts}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    out.with_suffix(".md").write_text(tables + "\n")


def tables_of(path: Path) -> str:
    """Make a record's tables by the benchmark that made it."""
    record = json.loads(path.read_text())
    tables: str = import_module(record["benchmark"]).tables(record["parts"])
    return tables + "\n"


def main() -> None:
    """Write the tables of all records."""
    for path in sorted(RECORDS.glob("*.json")):
        path.with_suffix(".md").write_text(tables_of(path))


def _commit() -> str | None:
    """Return the commit, marked if files differ from it; None outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None


if __name__ == "__main__":
    main()
