"""metaloop-compare: which learner is better, on the same test episodes."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.table import Table

from metaloop.cli.execute import be_no_rank, find_own_classes, run_worker
from metaloop.cli.help import version_text
from metaloop.cli.mistakes import fail
from metaloop.cli.over_run import made_name
from metaloop.cli.overrides import folder_named
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.folders.user_path import user_path
from metaloop.process.fast_import import fast_imports
from metaloop.process.machine_error import in_words
from metaloop.process.terminal import survive_lost_output
from metaloop.run.config.read import read_overrides
from metaloop.user_text import Terminal, say

if TYPE_CHECKING:
    from metaloop.run.comparison.compare import Comparison
    from metaloop.run.comparison.evaluated_run import EvaluatedRun

DESCRIPTION = """\
Compare learners by their differences on the same test episodes. Runs that differ
in their seed alone are one learner; with two seeds or more in common the
difference is given over seeds too. Every pair of learners has its 95 % interval
(Student's), Cohen's d (the mean of the paired differences over their standard
deviation) and p (paired t-test), corrected for all comparisons by Holm's method.
Runs whose test episodes differ are refused. Writes comparison.csv and
comparison.png.

  metaloop-compare RUN RUN
  metaloop-compare SWEEP --baseline SWEEP/RUN
  metaloop-compare RUN RUN/evaluations/inductive
  metaloop-compare RUN RUN --evaluate
"""
EVALUATE = """\
test the runs whose test episodes are others than
those of the first on these, as metaloop-evaluate
does; only runs that you trust
"""
READ = """\
For {metric}, {better}. Each interval is of its own comparison; p is
corrected for all in its table. Over seeds: what other seeds would give. Over
episodes: what these learners would give on other such episodes ({interval})."""


def main() -> None:
    """Run the command."""
    survive_lost_output()
    arguments = _parser().parse_args()
    find_own_classes()
    be_no_rank()
    try:
        folders = [folder_named(named) for named in arguments.folders]
        place = _place(arguments.out, folders)
        with in_words(place):
            _compare(arguments, folders, place)
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
    parser.add_argument("--metric", help="what to compare; default: accuracy, or query_loss")
    parser.add_argument(
        "--inner-step", type=int, metavar="K", help="after which; default: the last of each"
    )
    parser.add_argument(
        "--baseline", metavar="FOLDER", help="compare with this one alone; default: all pairs"
    )
    parser.add_argument(
        "--evaluation", default="test", metavar="NAME", help="of each run; default: test"
    )
    parser.add_argument("--evaluate", action="store_true", help=EVALUATE)
    parser.add_argument(
        "--out", metavar="FOLDER", help="default: the sweep, or outputs/DATE_TIME_comparison"
    )
    parser.add_argument("--version", action="version", version=version_text())
    return parser


def _place(named: str | None, folders: Sequence[Path]) -> Path:
    """The folder for table and picture."""
    if named is not None:
        return user_path(named)
    if len(folders) == 1 and _is_sweep(folders[0]):
        return folders[0]
    return Path("outputs") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_comparison"


def _is_sweep(folder: Path) -> bool:
    is_folder = os.path.isdir(folder)  # noqa: PTH112 - pathlib raises for long names
    return is_folder and not RunFolder(folder).config.is_file()


def _compare(arguments: argparse.Namespace, folders: Sequence[Path], place: Path) -> None:
    with fast_imports():  # here: --help needs no torch
        from metaloop.loggers.figures import save_figures
        from metaloop.plots import draw_differences
        from metaloop.run.comparison.compare import compare, write_csv

    baseline = None
    if arguments.baseline is not None:
        baseline = RunFolder.open(folder_named(arguments.baseline))
        folders = [*folders, baseline.path]
    evaluated = _find(folders, arguments.evaluation)
    if arguments.evaluate:
        evaluated = [_on_episodes_of(evaluated[0], one) for one in evaluated]
    found = compare(evaluated, arguments.metric, arguments.inner_step, baseline)
    _print(found)
    place.mkdir(parents=True, exist_ok=True)
    write_csv(found, place / "comparison.csv")
    rows = {
        f"{row.a} - {row.b}\nover {row.difference.pairs} {row.over}": (
            row.difference.mean,
            row.difference.half_width,
        )
        for row in found.rows
    }
    title = f"{_what(found)}: paired differences"
    axis_title = f"difference in {found.metric.replace('_', ' ')} ({_better(found)})"
    save_figures({"comparison": lambda: draw_differences(rows, axis_title, title)}, place)
    say(f"Table: {place / 'comparison.csv'}")
    say(f"Plot: {place / 'comparison.png'}")


def _find(folders: Sequence[Path], evaluation: str) -> list["EvaluatedRun"]:
    """The runs named and those in the sweeps named, each once; what is not completed is left out.

    A run that is named itself is taken as it is.
    """
    with fast_imports():
        from metaloop.run.comparison.evaluated_run import find_evaluated_run
        from metaloop.run.sweeps.sweep_table import runs_in

    evaluated: dict[Path, EvaluatedRun] = {}
    for folder in folders:
        if not _is_sweep(folder):
            found = find_evaluated_run(RunFolder.open(folder), evaluation)
            evaluated.setdefault(found.folder.path.resolve(), found)
            continue
        for run in runs_in(folder):
            try:
                if (state := run.state()) != "completed":
                    raise UserError(state)
                found = find_evaluated_run(run, evaluation)
                evaluated.setdefault(found.folder.path.resolve(), found)
            except UserError as error:
                say(f"Left out: {run.path} ({error})")
    if not evaluated:
        raise UserError("No run there has completed, so that there is nothing to compare yet.")
    return list(evaluated.values())


def _on_episodes_of(first: "EvaluatedRun", evaluated: "EvaluatedRun") -> "EvaluatedRun":
    """Test a learner on the test episodes of the first, unless it has been."""
    with fast_imports():
        from metaloop.run.comparison.evaluated_run import JUDGEMENT, find_evaluated_run
        from metaloop.run.comparison.same_episodes import differing_keys
        from metaloop.run.config.misfits import build_and_try
        from metaloop.run.config.write import write_evaluation
        from metaloop.run.evaluation.other_task import fit_to_run

    differing = differing_keys(first, evaluated)
    if not differing and (evaluated.folder.path / "episodes.csv").is_file():
        return evaluated
    own, its = (cast(Mapping[str, object], t.config["evaluation"]) for t in (evaluated, first))
    judged = {k: own[k] for k in own if f"evaluation.{k}" in JUDGEMENT}
    config = {k: v for k, v in evaluated.config.items() if k != "run"}
    config |= {
        "command": "evaluate",
        "seed": first.episode_seed,
        "task": first.config["task"],
        "evaluation": {**its, **judged},
    }
    values = fit_to_run(config, evaluated.trained, evaluated.run)
    device = build_and_try(values).device
    device.require()
    changes = [f"{key}={json.dumps(theirs)}" for key, (theirs, _) in differing.items()]
    name = made_name([evaluated.folder.path.name, *changes])
    overrides = [*read_overrides(evaluated.folder), *changes]
    folder = write_evaluation(evaluated.run, name, values, overrides)
    folder.let_go()  # the worker, another process, takes it
    say(f"Testing on the episodes of {first.folder.path}: {folder.path}")
    run_worker(folder, device.processes_here(), is_stopping=lambda: False, log=folder.log)
    return find_evaluated_run(folder, name)


def _print(found: "Comparison") -> None:
    """Print a table over seeds, where there are some, and one over episodes."""
    console = Terminal()
    for over in dict.fromkeys(row.over for row in found.rows):
        table = Table(title=f"{_what(found)}, paired over {over}")
        table.add_column("learners", overflow="fold")
        for column in ("mean", "A - B, 95 % interval\nCohen's d, pairs", "p (Holm)"):
            table.add_column(column, no_wrap=True)
        for row in (row for row in found.rows if row.over == over):
            difference = row.difference
            effect = "none" if (d := difference.effect_size) is None else f"{d:.2f}"
            table.add_row(
                *(f"A {row.a}\nB {row.b}", "\n".join(f"{mean:.4f}" for mean in row.means)),
                f"{difference.mean:.4f} +/- {difference.half_width:.4f}\n"
                f"d {effect}, {difference.pairs} {over}",
                f"{row.p:.2g}\n{f'{row.better} is better' if row.better else 'undecided'}",
            )
        console.print(table)
    metric = found.metric.replace("_", " ")
    say(READ.format(metric=metric, better=_better(found), interval=found.interval))
    for path in found.left_out:
        say(f"Left out of a pair, whose other learner has no run of its seed: {path}")


def _what(found: "Comparison") -> str:
    """What was compared: query loss after inner step 5."""
    steps = ", ".join(map(str, found.inner_steps))
    where = (
        f"inner step {steps}" if len(found.inner_steps) == 1 else f"the last inner step ({steps})"
    )
    return f"{found.metric.replace('_', ' ')} after {where}"


def _better(found: "Comparison") -> str:
    return {"max": "higher is better", "min": "lower is better"}.get(
        found.mode or "", "which is better, the metric does not say"
    )
