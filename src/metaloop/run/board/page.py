"""board.md: the board as a page."""

from collections.abc import Sequence

from metaloop.run.board.row import Row

COLUMNS = (
    "preset",
    "value",
    "published",
    "ours, over seeds",
    "over episodes, by seed",
    "meta-steps",
    "verdict",
)


def page(rule: str, rows: Sequence[Row]) -> str:
    """Write the table of all rows, then command and environment of each recorded preset."""
    counts = {v: sum(row["verdict"] == v for row in rows) for v in ("agrees", "above", "below")}
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = [
        "# Published values, reproduced",
        "",
        f"{len(rows)} published values: {said}. Written by `metaloop-reproduce` from the records "
        "in this folder.",
        "",
        rule,
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
        *map(_line, sorted(rows, key=lambda row: row["verdict"] == "not run")),
    ]
    recorded = {row["preset"]: row for row in rows if row["runs"]}
    for row in recorded.values():
        lines += ["", *_origin(row)]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    name, ours, published = row["metric"], row["ours"], row["published"]
    seeds = [] if ours is None else list(ours["seeds"].values())
    runs = row["runs"].values()
    steps = f"{min(r['meta_steps'] for r in runs):,} of " if runs else ""
    asked = f"{max(r['meta_steps_asked'] for r in runs):,}" if runs else ""
    why = [text for text in (row["reason"], published["note"]) if text]
    cells = [
        f"`{row['preset']}`",
        f"{name.replace('_', ' ')} after {row['inner_step']}",
        f"{_number(name, published['mean'], published['ci95'])} ({published['source']})",
        "" if ours is None else _number(name, ours["mean"], ours["ci95_over_seeds"]),
        "; ".join(
            f"{_number(name, seed['mean'], seed['ci95'])} ({seed['interval']})" for seed in seeds
        ),
        steps + asked,
        f"{row['verdict']}: {'; '.join(why)}" if why else f"{row['verdict']}",
    ]
    return f"| {' | '.join(cells)} |"


def _origin(row: Row) -> list[str]:
    """Write a preset's command, and commit, machine and versions of each seed."""
    lines = [f"## {row['preset']}", "", f"`{row['command']}`", ""]
    for seed, run in row["runs"].items():
        machine, versions = run["machine"], run["versions"] or {}
        gpus = machine["gpus"] if isinstance(machine["gpus"], list) else []
        where = ", ".join([*gpus, f"{machine['cpu_cores']} cores of {machine['cpu']}"])
        with_changes = " with changes" if run["is_modified"] else ""
        said = ", ".join(f"{name} {version}" for name, version in versions.items())
        lines.append(f"- seed {seed}: commit {run['commit']}{with_changes}; {where}; {said}")
    return lines


def _number(metric: str, mean: float | None, width: float | None) -> str:
    if mean is None:
        return "diverged"
    scale, unit = (100, " %") if "accuracy" in metric else (1, "")
    digits = 2 if unit else 3
    parts = [scale * number for number in (mean, width) if number is not None]
    return " +/- ".join(f"{part:.{digits}f}" for part in parts) + unit
