"""metaloop-sweep: what a sweep has done so far, as a table, a CSV file and a plot."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from metaloop.errors import UserError
from metaloop.process.fast_import import fast_imports
from metaloop.user_text import Terminal, show_any_text

DESCRIPTION = """\
Show a sweep at any time, running or done: what varied from job to job, the state
of each, its best validation value, its test value with the 95 % interval over
episodes, and means over seeds with their own interval. Writes sweep.csv and
sweep.png into the folder.

  metaloop-sweep outputs/multirun/DATE_TIME
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="metaloop-sweep",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the folder the runs are in")
    parser.add_argument("--metric", help="what to show; default: accuracy, or query_loss")
    parser.add_argument("--split", default="test", help="the evaluation to show; default: test")
    arguments = parser.parse_args()
    show_any_text()
    try:
        _show(arguments.folder, arguments.metric, arguments.split)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


def _show(folder: Path, metric: str | None, split: str) -> None:
    with fast_imports():  # here: --help needs no torch
        from metaloop.loggers.figures import save_figures
        from metaloop.plots import draw_comparison
        from metaloop.run.sweeps.sweep_table import SEED, over_seeds, read_sweep, write_csv

    sweep = read_sweep(folder, metric, split)
    console = Terminal()
    keys = list(sweep.jobs[0].varied)
    name = sweep.metric.replace("_", " ")
    jobs = Table(*keys, "state", f"best val {name}", f"{split} {name}, over episodes")
    for job in sweep.jobs:
        test = "" if job.test is None else _number(job.test.mean, job.test.half_width)
        validation = "" if job.validation is None else _number(job.validation, None)
        jobs.add_row(*job.varied.values(), job.status, validation, test)
    console.print(jobs)
    groups = over_seeds(sweep.jobs)
    if any(result.values > 1 for _, result in groups):
        table = Table(*(k for k in keys if k != SEED), "seeds", f"{split} {name}, over seeds")
        for varied, result in groups:
            cell = _number(result.mean, result.half_width)
            table.add_row(*varied.values(), str(result.values), cell)
        console.print(table)
    for job in sweep.jobs:
        if job.status in ("failed", "killed", "interrupted"):
            console.print(f"{job.status}: {job.folder.path}  {job.error}", soft_wrap=True)
    write_csv(sweep, folder / "sweep.csv")
    print(f"Table: {folder / 'sweep.csv'}")
    if groups:
        rows = {_label(varied): (r.mean, r.half_width) for varied, r in groups}
        figure = draw_comparison(rows, f"{split} {name}", folder.name)
        save_figures({"sweep": figure}, folder)
        print(f"Plot: {folder / 'sweep.png'}")


def _label(varied: Mapping[str, str]) -> str:
    return ", ".join(f"{k.split('.')[-1]}={v}" for k, v in varied.items()) or "all jobs"


def _number(mean: float, half_width: float | None) -> str:
    return f"{mean:.4f}" if half_width is None else f"{mean:.4f} +/- {half_width:.4f}"
