"""metaloop-sweep: what a sweep has done so far, as a table, a CSV file and a plot."""

import argparse
from pathlib import Path

from rich.table import Table

from metaloop.cli.help import version_text
from metaloop.cli.mistakes import fail
from metaloop.cli.overrides import folder_named
from metaloop.errors import UserError
from metaloop.process.fast_import import fast_imports
from metaloop.process.machine_error import in_words
from metaloop.process.terminal import survive_lost_output
from metaloop.user_text import Terminal, say

DESCRIPTION = """\
Show a sweep at any time, running or done: what varied from job to job, the state
of each, its best validation value, its test value with the 95 % interval that
its evaluation asked for (closed or open), and means over seeds with their own
interval. Writes sweep.csv and sweep.png into the folder.

  metaloop-sweep outputs/multirun/DATE_TIME
"""


def main() -> None:
    """Run the command."""
    survive_lost_output()
    parser = argparse.ArgumentParser(
        prog="metaloop-sweep",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="the folder the runs are in")
    parser.add_argument("--version", action="version", version=version_text())
    parser.add_argument("--metric", help="what to show; default: accuracy, or query_loss")
    parser.add_argument("--split", default="test", help="the evaluation to show; default: test")
    arguments = parser.parse_args()
    try:
        folder = folder_named(arguments.folder)
        with in_words(folder):
            _show(folder, arguments.metric, arguments.split)
    except UserError as error:
        fail(error)


def _show(folder: Path, metric: str | None, split: str) -> None:
    with fast_imports():  # here: --help needs no torch
        from metaloop.loggers.figures import save_figures
        from metaloop.plots import draw_comparison
        from metaloop.run.sweeps.sweep_table import (
            SEED,
            UNREADABLE,
            over_seeds,
            read_sweep,
            short_name,
            write_csv,
        )

    sweep = read_sweep(folder, metric, split)
    groups = over_seeds(sweep.jobs)
    name = sweep.metric.replace("_", " ")
    write_csv(sweep, folder / "sweep.csv")
    axis_title = f"{split} {name}, 95 % interval over seeds"
    if groups:
        rows = {short_name(varied) or "all jobs": (r.mean, r.half_width) for varied, r in groups}
        save_figures({"sweep": lambda: draw_comparison(rows, axis_title, folder.name)}, folder)
    console = Terminal()
    jobs = Table(*sweep.keys, "state", f"best val {name}", f"{split} {name}, 95 % interval")
    for job in sweep.jobs:
        test = "" if job.test is None else _number(job.test.mean, job.test.half_width)
        test += "" if job.test is None else f" ({job.test.interval})"
        validation = "" if job.validation is None else _number(job.validation, None)
        cells = (job.varied.get(key, "") for key in sweep.keys)
        jobs.add_row(*cells, job.status, validation, test)
    console.print(jobs)
    if any(result.values > 1 for _, result in groups):
        table = Table(*(k for k in sweep.keys if k != SEED), "seeds", axis_title)
        for varied, result in groups:
            cell = _number(result.mean, result.half_width)
            table.add_row(*varied.values(), str(result.values), cell)
        console.print(table)
    for job in sweep.jobs:
        if job.status in ("diverged", "failed", "killed", "interrupted", UNREADABLE):
            console.print(f"{job.status}: {job.folder.path}  {job.error}", soft_wrap=True)
    say(f"Table: {folder / 'sweep.csv'}")
    if groups:
        say(f"Plot: {folder / 'sweep.png'}")


def _number(mean: float, half_width: float | None) -> str:
    return f"{mean:.4f}" if half_width is None else f"{mean:.4f} +/- {half_width:.4f}"
