"""metaloop-compare: compare learners on the same test episodes."""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from metaloop.cli.execute import be_no_rank, find_own_classes, run_worker
from metaloop.cli.folder_names import make_name
from metaloop.cli.help import version_text
from metaloop.cli.mistakes import fail
from metaloop.cli.overrides import folder_named
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.folders.user_path import user_path
from metaloop.process.fast_import import fast_imports
from metaloop.process.machine_error import in_words
from metaloop.process.terminal import survive_lost_output
from metaloop.run.config.write import write_evaluation
from metaloop.user_text import say

if TYPE_CHECKING:
    from metaloop.run.comparison.evaluated_run import EvaluatedRun

DESCRIPTION = """\
Compare learners by their differences on the same test episodes. Runs that differ
only in their seed are one learner; if two learners share at least two seeds, their
difference is also given over seeds. Each difference has a 95 % interval
(Student's), Cohen's d (the mean of the paired differences divided by their
standard deviation) and p (paired t-test), corrected for all comparisons by Holm's
method. Runs with different test episodes are refused. Writes comparison.csv and
comparison.png.

  metaloop-compare RUN RUN
  metaloop-compare SWEEP --baseline SWEEP/RUN
  metaloop-compare RUN RUN/evaluations/inductive
  metaloop-compare RUN RUN --evaluate
"""
EVALUATE = """\
test runs with other test episodes than the first
run (or the baseline) on that run's, as
metaloop-evaluate does; only for runs that you trust
"""


def main() -> None:
    """Run the command."""
    survive_lost_output()
    arguments = _parser().parse_args()
    find_own_classes()
    be_no_rank()
    try:
        _compare(arguments, [folder_named(named) for named in arguments.folders])
    except UserError as error:
        fail(error)
    except KeyboardInterrupt:
        say("\nStopped.", is_error=True)
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="metaloop-compare",
        description=DESCRIPTION,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "folders", metavar="FOLDER", nargs="+", help="runs, evaluations of runs, or sweeps"
    )
    parser.add_argument("--metric", help="the metric to compare; default: accuracy, or query_loss")
    parser.add_argument(
        "--inner-step",
        type=int,
        metavar="K",
        help="inner step to compare after; default: the last of each",
    )
    parser.add_argument(
        "--baseline", metavar="FOLDER", help="compare only with this one; default: all pairs"
    )
    parser.add_argument(
        "--evaluation",
        default="test",
        metavar="NAME",
        help="evaluation to read of each run; default: test",
    )
    parser.add_argument("--evaluate", action="store_true", help=EVALUATE)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="for the results; default: the sweep, or outputs/DATE_TIME_comparison",
    )
    parser.add_argument("--version", action="version", version=version_text())
    return parser


def _compare(arguments: argparse.Namespace, folders: Sequence[Path]) -> None:
    with fast_imports():  # not at the top: --help needs no torch
        from metaloop.loggers.figures import save_figures
        from metaloop.run.comparison.compare import compare, write_csv
        from metaloop.run.comparison.evaluated_run import find_evaluated_runs
        from metaloop.run.comparison.shown import draw_comparison, print_comparison

    place = _place(arguments.out, folders)
    if arguments.baseline is not None:
        folders = [RunFolder.open(folder_named(arguments.baseline)).path, *folders]
    runs = find_evaluated_runs(folders, arguments.evaluation)
    if arguments.evaluate:
        runs = [_test_on_episodes_of(runs[0], run) for run in runs]
    against_first = arguments.baseline is not None
    found = compare(runs, arguments.metric, arguments.inner_step, against_first=against_first)
    print_comparison(found)
    with in_words(place):
        place.mkdir(parents=True, exist_ok=True)
        write_csv(found, place / "comparison.csv")
        save_figures({"comparison": lambda: draw_comparison(found)}, place)
    say(f"Table: {place / 'comparison.csv'}")
    say(f"Plot: {place / 'comparison.png'}")


def _place(named: str | None, folders: Sequence[Path]) -> Path:
    """Return the folder for table and picture."""
    from metaloop.run.sweeps.sweep_table import is_sweep

    if named is not None:
        return user_path(named)
    if len(folders) == 1 and is_sweep(folders[0]):
        return folders[0]
    return Path("outputs") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_comparison"


def _test_on_episodes_of(first: "EvaluatedRun", other: "EvaluatedRun") -> "EvaluatedRun":
    """Test a learner on the test episodes of the first, unless that is done already."""
    from metaloop.run.comparison.common_episodes import plan_retest
    from metaloop.run.comparison.evaluated_run import find_evaluated_run
    from metaloop.run.config.misfits import build_and_try

    if (new := plan_retest(first, other)) is None:
        return other
    device = build_and_try(new.config).config.device
    device.require()
    name = make_name([other.folder.path.name, *new.changes])
    folder = write_evaluation(other.run, name, new.config.content, new.overrides)
    folder.let_go()  # the worker is another process
    say(f"Testing on the episodes of {first.folder.path}: {folder.path}")
    run_worker(folder, device.processes_here(), is_stopping=lambda: False, log=folder.log)
    return find_evaluated_run(folder, name)
