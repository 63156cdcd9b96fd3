"""The presets, from conf/, and their published values with ours, from the board."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import yaml

from docs.generators.config_keys import summary

Row = Mapping[str, object]


def page(conf: Path) -> str:
    """All presets: a name, what the head of its config says."""
    rows = [f"| `{name}` | {summary(path)} |" for name, path in presets(conf)]
    return "\n".join(
        [
            "# Presets",
            "",
            "`metaloop-train experiment=NAME` composes one. Most pin a published row's protocol; "
            "where one differs, the head of its file in `conf/experiment/` says so. "
            "[The board](../results/board.md) has the published values and ours.",
            "",
            "| name | what it pins |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def presets(conf: Path) -> Iterator[tuple[str, Path]]:
    """Each preset's name as users write it, and its file."""
    folder = conf / "experiment"
    for path in sorted(folder.rglob("*.yaml")):
        yield str(path.relative_to(folder).with_suffix("")), path


def of_algorithm(conf: Path, algorithm: str) -> list[str]:
    """The presets that choose this algorithm."""
    return [name for name, path in presets(conf) if _chosen(conf, path) == algorithm]


def _chosen(conf: Path, path: Path) -> str | None:
    """The algorithm that a preset chooses, by itself or through the preset that it builds on."""
    chosen = None
    for choice in yaml.safe_load(path.read_text()).get("defaults", []):
        if isinstance(choice, dict):
            chosen = choice.get("override /algorithm", chosen)
        elif choice != "_self_":
            chosen = _chosen(conf, conf / f"{choice.strip('/').partition('@')[0]}.yaml")
    return chosen


def results(board: Path, names: list[str]) -> list[str]:
    """A table of the published values of these presets that have been run."""
    rows = cast(list[Row], json.loads(board.read_text())["rows"])
    lines = [_line(row) for row in rows if row["preset"] in names and row["ours"] is not None]
    return ["| preset | value | published | ours |", "|---|---|---|---|", *lines] if lines else []


def _line(row: Row) -> str:
    published, ours = cast(Row, row["published"]), cast(Row, row["ours"])
    metric = f"{str(row['metric']).replace('_', ' ')} after {row['inner_step']}"
    return (
        f"| `{row['preset']}` | {metric} | {published['mean']:.3f} ({published['source']}) "
        f"| {ours['mean']:.3f} |"
    )
