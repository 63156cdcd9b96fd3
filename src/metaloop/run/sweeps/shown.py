"""A sweep as tables and as a picture."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from matplotlib.figure import Figure
from rich.table import Table

from metaloop.errors import UserError
from metaloop.loggers.metrics_csv import read_rows
from metaloop.plots import draw_comparison, draw_validation_curves
from metaloop.plots.comparison import Bar
from metaloop.plots.names import DIRECTIONS, last_step_name, metric_name
from metaloop.plots.validation_curves import Curve
from metaloop.run.config.read import load_config
from metaloop.run.config.title import name_of
from metaloop.run.sweeps.sweep_table import (
    SEED,
    UNREADABLE,
    Result,
    Sweep,
    by_learner,
    over_seeds,
    over_values,
    short_name,
)

ENDED_EARLY = ("diverged", "failed", "killed", "interrupted", UNREADABLE)


def describe_sweep(sweep: Sweep) -> Iterator[Table | str]:
    """The jobs, the means over seeds, and what ended early and why."""
    yield _tabulate_jobs(sweep)
    groups = over_seeds(sweep)
    if any(result.values > 1 for _, result in groups):
        table = Table(title="Means over seeds", caption=_describe_values(sweep))
        for name in (*_headings([k for k in sweep.keys if k != SEED]), "seeds"):
            table.add_column(name, overflow="fold")
        table.add_column("mean, 95 % interval", no_wrap=True)
        for varied, result in groups:
            cell = _number(result.mean, result.half_width)
            table.add_row(*varied.values(), str(result.values), cell)
        yield table
    for job in sweep.jobs:
        if job.status in ENDED_EARLY:
            yield f"{job.status}: {job.folder.path}  {job.error}"


def _tabulate_jobs(sweep: Sweep) -> Table:
    """Tabulate the jobs, with the kind of interval where it differs."""
    tests = [job.test for job in sweep.jobs if job.test is not None]
    intervals = " and ".join(dict.fromkeys(test.interval for test in tests))
    table = Table(title=_describe_order(sweep))
    for name in ("job", *_headings(sweep.keys)):
        table.add_column(name, overflow="fold")
    for name in ("status", "validation", sweep.split, *(("interval",) if " " in intervals else ())):
        table.add_column(name, no_wrap=True)
    for job in sweep.jobs:
        cells = [job.folder.path.name, *(job.varied.get(key, "") for key in sweep.keys)]
        cells += [job.status, "" if job.validation is None else _number(job.validation, None)]
        cells += ["", ""] if job.test is None else [_number(*job.test[:2]), job.test.interval]
        table.add_row(*cells[: len(table.columns)])
    told = f"validation: the best of a run; {sweep.split}: {last_step_name(sweep.inner_steps)}"
    table.caption = f"{told}, {intervals} 95 % interval" if tests else None
    return table


def _describe_order(sweep: Sweep) -> str:
    """Name the metric, its better direction and the order of the jobs."""
    if sweep.mode is None:
        return metric_name(sweep.metric)
    is_validated = any(job.validation is not None for job in sweep.jobs)
    ranked = "validation" if is_validated else sweep.split
    return f"{metric_name(sweep.metric)}, {DIRECTIONS[sweep.mode]}: best {ranked} first"


def _headings(keys: Sequence[str]) -> list[str]:
    """Name keys without their sections, unless two would have one name."""
    short = [key.rpartition(".")[2] for key in keys]
    return [s if short.count(s) == 1 else key for s, key in zip(short, keys, strict=True)]


def draw_sweep(sweep: Sweep, name: str) -> Figure:
    """Draw each learner's mean test value with its interval: over seeds, or the only run's."""
    bars = {
        short_name(varied) or "all jobs": _bar(results) for varied, results in by_learner(sweep)
    }
    return draw_comparison(bars, _describe_values(sweep), title_of_sweep(sweep, name))


def draw_validations(sweep: Sweep, name: str) -> Figure | None:
    """Draw the validations of every job, a colour per learner; None if they cannot be drawn."""
    column = f"val/{sweep.metric}"
    learners: dict[str, list[Curve]] = {}
    for job in sweep.jobs:
        if job.status != UNREADABLE:
            rows = [row for row in read_rows(job.folder.metrics) if row.get(column)]
            learner = short_name({k: v for k, v in job.varied.items() if k != SEED}) or "all jobs"
            if rows:
                curve = [(int(row["step"]), float(row[column])) for row in rows]
                learners.setdefault(learner, []).append(curve)
    axis_title = f"validation {metric_name(sweep.metric)}"
    return draw_validation_curves(learners, axis_title, title_of_sweep(sweep, name))


def title_of_sweep(sweep: Sweep, name: str) -> str:
    """Name a sweep by its algorithm and task, if they are not several, and by its folder."""
    if "experiment" not in sweep.keys:
        with suppress(UserError):  # of the first job alone: reading a config takes long
            config = load_config(sweep.jobs[0].folder)
            algorithm, task = (
                f"several {key}s" if key in sweep.keys else name_of(config[key])
                for key in ("algorithm", "task")
            )
            return f"{algorithm} on {task}, sweep {name}"
    return f"sweep {name}"


def _bar(results: Sequence[Result]) -> Bar:
    """Average one learner's results."""
    if len(results) > 1:
        mean, half_width, *_ = over_values([result.mean for result in results])
        return Bar(mean, half_width, "95 % interval over seeds")
    (only,) = results
    return Bar(only.mean, only.half_width, f"one run: {only.interval} 95 % interval over episodes")


def _describe_values(sweep: Sweep) -> str:
    return f"{sweep.split} {metric_name(sweep.metric)} {last_step_name(sweep.inner_steps)}"


def _number(mean: float, half_width: float | None) -> str:
    return f"{mean:.4f}" if half_width is None else f"{mean:.4f} +/- {half_width:.4f}"
