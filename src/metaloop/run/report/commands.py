"""Commands that made a folder, and commands to try next, each with its purpose."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, cast

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.folders.sweep_folder import SweepFolder
from metaloop.run.config.read import read_overrides
from metaloop.run.report.protocol import Config
from metaloop.tasks.readers.given import ANY_FILES, ExampleFiles
from metaloop.user_text import for_hydra, for_shell


class Command(NamedTuple):
    """A command with what it does."""

    purpose: str
    line: str


def in_lines(found: Sequence[Command]) -> list[str]:
    """Write commands for a shell, each under its purpose."""
    return [line for command in found for line in (f"# {command.purpose}", command.line)]


def run_of(folder: RunFolder, config: Config) -> RunFolder:
    """Find the run that an evaluation or adaptation belongs to."""
    return RunFolder(os.path.normpath(folder.path / str(config["run"])))


def command_of(folder: RunFolder, config: Config) -> str:
    """Write the command that made a run, an evaluation or an adaptation."""
    overrides, command = read_overrides(folder), config["command"]
    if command == "train":
        return for_shell("metaloop-train", *overrides)
    run = run_of(folder, config)
    if command == "evaluate" and overrides == read_overrides(run):  # at the end of training
        return for_shell("metaloop-train", *overrides)
    name = for_hydra("name", folder.path.resolve().name)
    return for_shell(f"metaloop-{command}", run.path, *overrides, name)


def after_training(
    run: Path, place: str = "", files: ExampleFiles | None = ANY_FILES
) -> list[Command]:
    """Suggest what to do with a trained learner.

    Args:
        run: the run's folder.
        place: prefix of the commands' names.
        files: examples that the learner can adapt to; None if no file can hold them.

    """
    evaluate, adapt, resume, report, train = (
        f"{place}metaloop-{name}" for name in ("evaluate", "adapt", "resume", "report", "train")
    )
    adapting = []
    if files is not None:
        line = for_shell(adapt, run, *files.arguments)
        adapting = [Command(f"adapt it to examples of your own: {files.content}", line)]
    return [
        Command(
            "judge the last checkpoint, not the best",
            for_shell(evaluate, run, "evaluation.checkpoint=last"),
        ),
        *adapting,
        Command("train longer", for_shell(resume, run, "training.max_steps=MORE")),
        Command("put all of it on one page", for_shell(report, run)),
        Command("see what else can be chosen", for_shell(train, "--help")),
    ]


def after_run(run: RunFolder) -> list[Command]:
    """Suggest what to do next with a training run, by its state."""
    path, state = run.path, run.state()
    if state == "completed":
        return after_training(path)
    if state == "composed":
        return [Command("start it", for_shell("python", "-m", "metaloop.run", path))]
    if state == "running":
        return [Command("write this page again", for_shell("metaloop-report", path))]
    if state == "diverged":
        lower = ("optimizer.lr=LOWER", "--accept-changes")
        return [
            Command("go on with another value", for_shell("metaloop-resume", path, *lower)),
        ]
    return [Command("go on from the last checkpoint", for_shell("metaloop-resume", path))]


def after_evaluation(folder: RunFolder, run: RunFolder) -> list[Command]:
    """Suggest what to do after an evaluation."""
    return [
        Command(
            "take the interval over the data, too",
            for_shell("metaloop-evaluate", run.path, "evaluation.interval=open"),
        ),
        Command("compare it with another", for_shell("metaloop-compare", folder.path, "OTHER")),
        Command("put the run on one page", for_shell("metaloop-report", run.path)),
    ]


def after_adaptation(run: RunFolder, config: Config) -> list[Command]:
    """Suggest what to do after an adaptation, with the same support set."""
    support = str(cast(Config, config["adapt"])["support"])
    files = for_hydra("support", support), f"query=LABELLED{Path(support).suffix}"
    return [
        Command(
            "judge it by other labelled examples, and export it",
            for_shell("metaloop-adapt", run.path, *files, "export=onnx"),
        ),
        Command("put the run on one page", for_shell("metaloop-report", run.path)),
    ]


def command_of_sweep(sweep: SweepFolder, *arguments: str) -> list[str]:
    """Write the sweep's last command, with further arguments; no line if it is not known."""
    with suppress(UserError):  # a folder of runs that no sweep made
        return [for_shell("metaloop-train", "-m", *sweep.leader.arguments, *arguments)]
    return []


def after_sweep(sweep: SweepFolder, first: RunFolder) -> list[Command]:
    """Suggest what to do with a sweep, whose table begins with the job `first`."""
    again = command_of_sweep(sweep, for_hydra("hydra.sweep.dir", sweep.path))
    return [
        *(Command("finish what is missing", line) for line in again),
        Command("tell the learners apart, paired", for_shell("metaloop-compare", sweep.path)),
        Command("put the first job on a page", for_shell("metaloop-report", first.path)),
    ]
