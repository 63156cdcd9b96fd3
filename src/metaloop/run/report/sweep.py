"""The page of a sweep."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from rich.table import Table

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.folders.sweep_folder import SweepFolder
from metaloop.run.config.read import load_config
from metaloop.run.report.commands import after_sweep, command_of_sweep
from metaloop.run.report.html import Html, commands, grid, pairs, paragraph, tag
from metaloop.run.report.page import Section, write_page
from metaloop.run.report.pictures import embed_all, embed_figure
from metaloop.run.report.protocol import Pairs, agree, environment_of, protocol_of
from metaloop.run.report.sections import show_next
from metaloop.run.sweeps.shown import describe_sweep, draw_sweep, draw_validations
from metaloop.run.sweeps.sweep_table import Sweep, read_sweep


def sweep_page(folder: Path) -> str:
    """Write the page of a sweep, or of any folder that holds runs."""
    sweep, name = read_sweep(folder), folder.resolve().name
    states = Counter(job.status for job in sweep.jobs)
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    runs = [job.folder for job in sweep.jobs]
    sections = [
        Section("Results", lambda: _results(sweep, name)),
        Section("Pictures", lambda: embed_all(folder, name, leave_out=["sweep"])),
        Section("Protocol", lambda: _show_common(runs, _protocol)),
        Section("Environment", lambda: _show_common(runs, environment_of)),
        Section("Commands", lambda: _commands(SweepFolder(folder), runs[0])),
    ]
    return write_page("Sweep", name, paragraph(f"{len(runs)} jobs: {counts}."), sections)


def _results(sweep: Sweep, name: str) -> Iterator[Html]:
    metric = sweep.metric.replace("_", " ").capitalize()
    if any(job.test is not None for job in sweep.jobs):
        yield embed_figure(draw_sweep(sweep, name), f"{metric}: {sweep.split}, each learner's mean")
    else:
        yield paragraph("No job has results yet.")
    if (figure := draw_validations(sweep, name)) is not None:
        yield embed_figure(figure, f"{metric}: validation, each job")
    for part in describe_sweep(sweep):
        yield grid(part) if isinstance(part, Table) else paragraph(part, "problem")


def _show_common(
    runs: Sequence[RunFolder], describe: Callable[[RunFolder], Pairs]
) -> Iterator[Html]:
    """Show what describes all runs whose files are readable; the table names the others."""
    found = []
    for run in runs:
        with suppress(UserError):
            found.append(describe(run))
    if known := [description for description in found if description]:
        yield pairs(agree(known))


def _protocol(run: RunFolder) -> Pairs:
    return protocol_of(load_config(run))


def _commands(sweep: SweepFolder, first: RunFolder) -> Iterator[Html]:
    if made := command_of_sweep(sweep):
        yield tag("h3", "What made this")
        yield commands(made)
    yield from show_next(after_sweep(sweep, first))
