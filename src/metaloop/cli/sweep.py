"""metaloop-sweep: show a sweep's results so far as a table, a CSV file and a plot."""

import argparse
from pathlib import Path

from metaloop.cli.help import version_text
from metaloop.cli.mistakes import fail
from metaloop.cli.overrides import folder_named
from metaloop.errors import UserError
from metaloop.process.fast_import import fast_imports
from metaloop.process.machine_error import in_words
from metaloop.process.terminal import survive_lost_output
from metaloop.user_text import Terminal, say

DESCRIPTION = """\
Show a sweep, running or done: its jobs, the best first, with the values that vary
between them, the status, the best validation value, the test value with the 95 %
interval of its evaluation (closed or open), and means over seeds with their own
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
    with fast_imports():  # not at the top: --help needs no torch
        from metaloop.loggers.figures import save_figures
        from metaloop.run.sweeps.shown import describe_sweep, draw_sweep
        from metaloop.run.sweeps.sweep_table import read_sweep, write_csv

    sweep = read_sweep(folder, metric, split)
    write_csv(sweep, folder / "sweep.csv")
    has_results = any(job.test is not None for job in sweep.jobs)
    if has_results:
        save_figures({"sweep": lambda: draw_sweep(sweep, folder.name)}, folder)
    console = Terminal()
    for part in describe_sweep(sweep):
        console.print(part, soft_wrap=isinstance(part, str))
    say(f"Table: {folder / 'sweep.csv'}")
    if has_results:
        say(f"Plot: {folder / 'sweep.png'}")
