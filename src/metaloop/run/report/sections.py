"""The sections of a page, by the kind of folder."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import cast

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.plots import draw_learning_curve
from metaloop.run.config.title import title_of_run
from metaloop.run.report.commands import (
    Command,
    after_adaptation,
    after_evaluation,
    after_run,
    command_of,
    in_lines,
    run_of,
)
from metaloop.run.report.html import Html, commands, pairs, paragraph, tag
from metaloop.run.report.judged import show_adaptation, show_evaluation, show_protocol
from metaloop.run.report.page import Section
from metaloop.run.report.pictures import embed_all, embed_figure
from metaloop.run.report.protocol import Config, environment_of, protocol_of


def run_sections(run: RunFolder, config: Config) -> list[Section]:
    """List the sections on a training run, with all its evaluations."""
    split = str(cast(Config, config["evaluation"]).get("split"))
    judged = sorted(path for path in run.evaluations.glob("*") if path.is_dir())
    others = [path for path in judged if path.name != split]
    return [
        Section("Results", lambda: _results(run, split)),
        Section("Learning curve", lambda: _learning_curve(run, title_of_run(config, run))),
        Section(
            "In validation",
            lambda: embed_all(run.plots, "the last validation", leave_out=["learning_curve"]),
        ),
        *(_other_evaluation(RunFolder(path)) for path in others),
        Section("Protocol", lambda: [pairs(protocol_of(config)), _config(run)]),
        Section("Environment", lambda: show_environment(run)),
        Section("Commands", lambda: [*_made(run, config), *show_next(after_run(run))]),
    ]


def evaluation_sections(folder: RunFolder, config: Config) -> list[Section]:
    """List the sections on an evaluation."""
    run = run_of(folder, config)
    return [
        Section("Results", lambda: show_evaluation(folder, folder.path.resolve().name)),
        *_how_judged(folder, run),
        Section(
            "Commands",
            lambda: [*_made(folder, config), *show_next(after_evaluation(folder, run))],
        ),
    ]


def adaptation_sections(folder: RunFolder, config: Config) -> list[Section]:
    """List the sections on an adaptation."""
    run = run_of(folder, config)
    return [
        Section("Results", lambda: show_adaptation(folder, folder.path.resolve().name)),
        *_how_judged(folder, run),
        Section(
            "Commands", lambda: [*_made(folder, config), *show_next(after_adaptation(run, config))]
        ),
    ]


def progress_of(run: RunFolder, config: Config) -> str:
    """Say how many meta-steps are done; nothing if that is not known."""
    with suppress(UserError):
        if rows := read_rows(run.metrics):
            asked = cast(Config, config["training"]).get("max_steps")
            return f"{rows[-1]['step']} of {asked} meta-steps."
    return ""


def show_environment(run: RunFolder) -> Iterator[Html]:
    """Show what a run was trained on."""
    if found := environment_of(run):
        yield pairs(found)


def show_next(found: Sequence[Command]) -> Iterator[Html]:
    """Show commands to try next, each under its purpose."""
    yield tag("h3", "What to try next")
    yield commands(in_lines(found))


def _results(run: RunFolder, split: str) -> Iterator[Html]:
    shown = list(show_evaluation(RunFolder(run.evaluations / split), f"{split} episodes"))
    yield from shown or [paragraph("There are no results yet: the run is evaluated at its end.")]


def _learning_curve(run: RunFolder, title: str) -> Iterator[Html]:
    """Draw each metric's curve from metrics.csv, since an unfinished run has no picture of it."""
    rows = read_rows(run.metrics)
    if not rows:
        yield paragraph(
            "Nothing has been logged: the run has not come to its first row of metrics.csv "
            "(training.log_every), or writes none (logger=none)."
        )
        return
    validated = {name.removesuffix("_ci95") for row in rows for name in row if "_ci95" in name}
    names = [name.removeprefix("val/") for name in sorted(validated)]
    metrics = [name for name in names if not name.startswith(("support_", "query_loss"))]
    for name in ("query_loss", *metrics):
        figure = draw_learning_curve(rows, [name], title)
        yield embed_figure(figure, f"{name.replace('_', ' ').capitalize()} over the meta-steps")


def _other_evaluation(folder: RunFolder) -> Section:
    name = folder.path.name
    return Section(f"Evaluation {name}", lambda: show_evaluation(folder, name))


def _how_judged(folder: RunFolder, run: RunFolder) -> list[Section]:
    return [
        Section("Protocol", lambda: show_protocol(folder)),
        Section("Environment of the training", lambda: show_environment(run)),
    ]


def _made(folder: RunFolder, config: Config) -> Iterator[Html]:
    """Show the command that made a folder, and what was changed when it was resumed."""
    yield tag("h3", "What made this")
    yield commands([command_of(folder, config)])
    for accepted in folder.read_accepted():
        for key, (before, after) in accepted.changes.items():
            yield paragraph(f"From meta-step {accepted.meta_step} on: {key}={after} (was {before})")


def _config(run: RunFolder) -> Html:
    summary = tag("summary", "The whole config")
    return tag("details", summary, commands(run.config_text().splitlines()))
