"""A sweep as tables and as a picture."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from matplotlib.figure import Figure
from rich.table import Table

from metaloop.errors import UserError
from metaloop.loggers.metrics_csv import read_rows
from metaloop.plots import draw_comparison, draw_validation_curves
from metaloop.plots.comparison import Bar
from metaloop.plots.names import last_step_name, metric_name
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
    name = metric_name(sweep.metric)
    jobs = Table(*sweep.keys, "state", f"best val {name}", f"{sweep.split} {name}, 95 % interval")
    for job in sweep.jobs:
        test = "" if job.test is None else _number(job.test.mean, job.test.half_width)
        test += "" if job.test is None else f" ({job.test.interval})"
        validation = "" if job.validation is None else _number(job.validation, None)
        cells = (job.varied.get(key, "") for key in sweep.keys)
        jobs.add_row(*cells, job.status, validation, test)
    yield jobs
    groups = over_seeds(sweep.jobs)
    if any(result.values > 1 for _, result in groups):
        mean = f"{_describe_values(sweep)}, 95 % interval over seeds"
        table = Table(*(k for k in sweep.keys if k != SEED), "seeds", mean)
        for varied, result in groups:
            cell = _number(result.mean, result.half_width)
            table.add_row(*varied.values(), str(result.values), cell)
        yield table
    for job in sweep.jobs:
        if job.status in ENDED_EARLY:
            yield f"{job.status}: {job.folder.path}  {job.error}"


def draw_sweep(sweep: Sweep, name: str) -> Figure:
    """Draw each learner's mean test value with its interval: over seeds, or the only run's."""
    bars = {
        short_name(varied) or "all jobs": _bar(results)
        for varied, results in by_learner(sweep.jobs)
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
