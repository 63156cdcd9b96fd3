"""A stage's record as a Markdown table, for the documents."""

from collections.abc import Mapping
from typing import Any

MOST = 12  # values of one kind


def table(record: Mapping[str, Any]) -> str:
    """One row per item, then the card, versions and command of each run."""
    lines = ["| item | state | values | seconds |", "|---|---|---|---|"]
    for name, item in record["items"].items():
        state = item["state"] if item["reason"] is None else f"{item['state']}: {item['reason']}"
        values = "; ".join(f"{key}: {short(value)}" for key, value in item["values"].items())
        cells = (name, state, values or "-", f"{item['seconds']:.1f}")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", *dict.fromkeys(map(_how_run, record["runs"]))]) + "\n"


def short(value: object) -> str:
    """A value in few words; many values are in the record alone."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list) and len(value) > MOST:
        return f"{len(value)} values, in the record"
    if isinstance(value, dict):
        return ", ".join(f"{key} {short(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(short, value)) or "none"
    return str(value)


def _how_run(run: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    return f"`{run['command']}`, commit {run['commit']}, {run['card']}; {versions}."
