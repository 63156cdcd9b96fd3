"""Compare every algorithm under one small budget: sinusoids, Omniglot or CIFAR-FS.

    python benchmarks/every_algorithm.py sinusoid --out benchmarks/records/sinusoid
    python benchmarks/every_algorithm.py cifar_fs --data-dir DATA --seeds 0 1 2

All see the same number of the same training tasks, on one thread, with the same model and
meta-optimizer unless an algorithm defines its own; runs/budgets.py has the settings. Half of the
meta-steps of pmf are its pretraining. metaloop-compare pairs each learner with the first on the
same test episodes, after each one's last inner step.
"""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from record import Part, how_made, made, plus_minus, save
from rich.console import Console
from runs.budgets import ALGORITHM, BUDGETS, SETTINGS, STARTS_FROM, Budget
from runs.command import run_command, run_train
from runs.picture import draw

from metaloop.run.sweeps.sweep_table import over_values

NEEDS_DATA = ("omniglot", "cifar_fs")
Row = Mapping[str, Any]


class Trained(NamedTuple):
    """A run, its command, and what it has cost."""

    folder: Path
    command: str
    cpu_seconds: float
    peak_mib: float


def main() -> None:
    """Train and test every algorithm with every seed, compare them, print the table."""
    arguments = parse()
    console = Console()
    runs: dict[str, list[Trained]] = {}
    for name in arguments.algorithms or [n for n in SETTINGS if arguments.task in SETTINGS[n]]:
        for seed in arguments.seeds:
            with console.status(f"{name}, seed {seed}"):
                run = train(name, seed, arguments)
            runs.setdefault(name, []).append(run)
            console.print(f"{name:15} {seed} {run.cpu_seconds:7.0f} s", highlight=False)
    with console.status("metaloop-compare"):
        differences = compare(runs, arguments)
    budget = BUDGETS[arguments.task]
    rows = {name: describe(of, budget.metric) for name, of in runs.items()}
    for name, found in differences.items():
        rows[name]["minus_first"] = found
    parts = {
        arguments.task: {
            "made": made(1),
            "budget": [*budget.settings, f"training.max_steps={steps_of(arguments)}"],
            "seeds": arguments.seeds,
            "rows": rows,
        }
    }
    print(f"\n{tables(parts)}")
    if arguments.out:
        save(parts, tables(parts), arguments.out)
    if arguments.plot:
        draw(rows, budget, arguments.plot)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("task", choices=BUDGETS)
    parser.add_argument("--data-dir", type=Path, help="Omniglot's or CIFAR-100's files")
    parser.add_argument("--algorithms", nargs="+", choices=SETTINGS, help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--meta-steps", type=int, help="in place of the budget's")
    parser.add_argument("--runs", type=Path, default=Path("outputs/every_algorithm"))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, for all runs")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    parser.add_argument("--plot", type=Path, help="a picture of the differences")
    arguments = parser.parse_args()
    if arguments.data_dir is None and arguments.task in NEEDS_DATA:
        parser.error(f"{arguments.task} needs --data-dir")
    return arguments


def steps_of(arguments: argparse.Namespace) -> int:
    """Return the number of meta-steps of every run."""
    return arguments.meta_steps or BUDGETS[arguments.task].meta_steps


def train(name: str, seed: int, arguments: argparse.Namespace) -> Trained:
    """Train with one seed; what another algorithm's run starts counts as its own."""
    steps = steps_of(arguments)
    if name == "random":
        return train_alone(name, seed, 0, arguments)
    if name not in STARTS_FROM:
        return train_alone(name, seed, steps, arguments)
    untested = "evaluation.episodes=2"
    start = train_alone(STARTS_FROM[name], seed, steps // 2, arguments, untested)
    rest = train_alone(name, seed, steps - steps // 2, arguments, f"init_from={start.folder}")
    costs = start.cpu_seconds + rest.cpu_seconds, max(start.peak_mib, rest.peak_mib)
    command = f"{start.command}; {rest.command}".replace(str(start.folder), "FOLDER")
    return Trained(rest.folder, command, *costs)


def train_alone(
    name: str, seed: int, steps: int, arguments: argparse.Namespace, *more: str
) -> Trained:
    """Run one metaloop-train."""
    overrides = [
        *BUDGETS[arguments.task].settings,
        f"algorithm={ALGORITHM.get(name, name)}",
        *SETTINGS[name][arguments.task],
        f"seed={seed}",
        f"training.max_steps={steps}",
        f"training.validate_every={max(1, steps // 4)}",
        *more,
        *arguments.set,
    ]
    data = [] if arguments.data_dir is None else [f"task.data_dir={arguments.data_dir.resolve()}"]
    data = data if arguments.task in NEEDS_DATA else []
    ran = run_train(arguments.runs, *overrides, *data, "device.threads=1")
    command = " ".join(["metaloop-train", *overrides])
    return Trained(ran.folder, command, ran.cpu_seconds, ran.peak_mib)


def compare(
    runs: Mapping[str, Sequence[Trained]], arguments: argparse.Namespace
) -> dict[str, dict[str, Row]]:
    """Run metaloop-compare with the first as the baseline; return the others' differences.

    Whatever was tested on other episodes, as Reptile's shots are others, is tested on the first's.
    """
    first, *others = runs
    if not others:
        return {}
    out = arguments.runs / f"{arguments.task}_comparison"
    run_command(
        "metaloop-compare",
        *(str(run.folder) for of in runs.values() for run in of),
        f"--baseline={runs[first][0].folder}",
        f"--metric={BUDGETS[arguments.task].metric}",
        "--evaluate",
        f"--out={out}",
    )
    with (out / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    found: dict[str, dict[str, Row]] = {name: {} for name in others}
    for over in ("episodes", "seeds"):
        of_these = [row for row in rows if row["over"] == over]
        for name, row in zip(others, of_these, strict=bool(of_these)):
            keys = {"mean": "difference", "ci95": "ci95", "p": "p_holm"}
            found[name][over] = {key: float(row[column]) for key, column in keys.items()}
    return found


def describe(runs: Sequence[Trained], metric: str) -> dict[str, Any]:
    """Summarise a learner's runs: means over episodes, of several seeds over these."""
    curves = [newest_results(run.folder)["metrics"][metric] for run in runs]
    return {
        "commands": [run.command for run in runs],
        "inner_steps": len(curves[0]["mean"]) - 1,
        "before": over_runs(curves, 0),
        "after": over_runs(curves, -1),
        "cpu_seconds": max(run.cpu_seconds for run in runs),
        "peak_mib": max(run.peak_mib for run in runs),
    }


def newest_results(run: Path) -> Any:  # noqa: ANN401
    """Read the results of the last evaluation, on the episodes of the first learner."""
    paths = run.glob("evaluations/*/results.json")
    return json.loads(max(paths, key=lambda path: path.stat().st_mtime).read_text())


def over_runs(curves: Sequence[Mapping[str, Sequence[float]]], step: int) -> Row:
    """Return mean and half-width: of one run over its episodes, of several over the runs."""
    if len(curves) == 1:
        return {key: curves[0][key][step] for key in ("mean", "ci95")}
    found = over_values([curve["mean"][step] for curve in curves])
    return {"mean": found.mean, "ci95": found.half_width}


def tables(parts: Mapping[str, Part]) -> str:
    """Make a Markdown table of each task, with a row for every learner."""
    return "\n\n".join(table(BUDGETS[task], part) for task, part in parts.items())


def table(budget: Budget, part: Part) -> str:
    """Make one task's table, and say how it was made."""
    percent = budget.metric == "accuracy"
    name = "accuracy, %" if percent else "mean squared error"
    rows, seeds = part["rows"], len(part["seeds"])
    first = next(iter(rows))
    over = ["episodes"] if seeds == 1 else ["episodes", "seeds"]
    differences = [f"minus `{first}`, paired over {of}" for of in over]
    head = ["algorithm", "inner steps", f"{name}, before", "after", *differences]
    head += ["CPU time, s", "peak memory, MiB"]
    lines = [head, ["---"] * len(head)]
    for algorithm, row in rows.items():
        minus = row.get("minus_first")
        values = [row["before"], row["after"], *(minus and minus[of] for of in over)]
        shown = ["-" if v is None else plus_minus(v["mean"], v["ci95"], percent) for v in values]
        costs = [f"{row['cpu_seconds']:.0f}", f"{row['peak_mib']:.0f}"]
        lines.append([f"`{algorithm}`", str(row["inner_steps"]), *shown, *costs])
    told = f"{budget.name}: `{' '.join(part['budget'])}`, 95 % intervals over "
    told += "episodes, one seed." if seeds == 1 else f"{seeds} seeds."
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{told}\n\n{text}\n\n{how_made(part['made'])}"


if __name__ == "__main__":
    main()
