"""A page of every config key: its default and its comment, read from conf/."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

# Hydra's own, and those of presets, which have a page of their own
LEFT_OUT = ("hydra", "published", "published_where", "_target_", "_partial_")
COMMANDS = {
    "train": "Keys of every run",
    "evaluate": "metaloop-evaluate",
    "adapt": "metaloop-adapt",
}


class Key(NamedTuple):
    """A key as users write it, its default, and what conf/ says on it."""

    name: str
    default: str
    comment: str


def page(conf: Path) -> str:
    """All config files but the presets, a section each."""
    parts = [
        "# Every config key",
        "A key is set on the command line as `KEY=VALUE`; keys of one choice hold where it is "
        "chosen. `null` leaves the value to the task, the optimizer or the machine.",
    ]
    parts += [_section(title, "", conf / f"{name}.yaml") for name, title in COMMANDS.items()]
    for path in sorted(conf.glob("*/*.yaml")):
        group = path.parent.name
        if group != "experiment":
            parts.append(_section(f"{group}={path.stem}", f"{group}.", path))
    return "\n\n".join(parts) + "\n"


def _section(title: str, prefix: str, path: Path) -> str:
    rows = [
        f"| `{prefix}{key.name}` | {_cell(key.default, is_code=True)} | {_cell(key.comment)} |"
        for key in read_keys(path.read_text())
    ]
    table = ["| key | default | |", "|---|---|---|", *rows] if rows else []
    return "\n".join([f"## {title}", "", summary(path), "", *table])


def summary(path: Path) -> str:
    """The first comment of a config: what it is, and whose."""
    lines = (line for line in path.read_text().splitlines() if not line.startswith("# @"))
    return next(lines).removeprefix("# ")


def read_keys(text: str) -> Iterator[Key]:
    """The keys of a config, each with the comment on its line and those right above it."""
    root = yaml.compose(text)
    if root is not None:
        yield from _keys(root, "", text.splitlines())


def _keys(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Key]:
    for key, value in node.value:
        name = prefix + key.value
        if key.value == "defaults":
            for choice in value.value:
                if (
                    isinstance(choice, yaml.MappingNode)
                    and "override" not in choice.value[0][0].value
                ):
                    yield from _keys(choice, prefix, lines)
        elif key.value in LEFT_OUT:
            continue
        elif isinstance(value, yaml.MappingNode) and not value.flow_style:
            if comment := _comment(key, key, lines):
                yield Key(name, "", comment)
            yield from _keys(value, f"{name}.", lines)
        else:
            yield Key(name, _source(value, lines), _comment(key, value, lines))


def _source(value: yaml.Node, lines: list[str]) -> str:
    start, end = value.start_mark, value.end_mark
    stop = end.column if end.line == start.line else None
    return lines[start.line][start.column : stop]


def _comment(key: yaml.Node, value: yaml.Node, lines: list[str]) -> str:
    above = []
    for line in reversed(lines[: key.start_mark.line]):
        if key.start_mark.line < 3 or not line.lstrip().startswith("# "):
            break
        above.insert(0, line.strip("# "))
    beside = lines[value.start_mark.line][value.end_mark.column :].partition("# ")[2]
    return " ".join([*above, beside]).strip()


def _cell(text: str, *, is_code: bool = False) -> str:
    escaped = text.replace("|", "\\|")
    return (
        f"`{escaped}`" if is_code and escaped else escaped.replace("<", "\\<").replace("*", "\\*")
    )
