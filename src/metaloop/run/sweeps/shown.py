"""A sweep as tables and as a picture."""

from collections.abc import Iterator

from matplotlib.figure import Figure
from rich.table import Table

from metaloop.loggers.metrics_csv import read_rows
from metaloop.plots import draw_comparison, draw_validation_curves
from metaloop.plots.validation_curves import Curve
from metaloop.run.sweeps.sweep_table import SEED, UNREADABLE, Sweep, over_seeds, short_name

ENDED_EARLY = ("diverged", "failed", "killed", "interrupted", UNREADABLE)


def describe_sweep(sweep: Sweep) -> Iterator[Table | str]:
    """The jobs, the means over seeds, and what ended early and why."""
    name = sweep.metric.replace("_", " ")
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
        table = Table(*(k for k in sweep.keys if k != SEED), "seeds", _axis_title(sweep))
        for varied, result in groups:
            cell = _number(result.mean, result.half_width)
            table.add_row(*varied.values(), str(result.values), cell)
        yield table
    for job in sweep.jobs:
        if job.status in ENDED_EARLY:
            yield f"{job.status}: {job.folder.path}  {job.error}"


def draw_sweep(sweep: Sweep, title: str) -> Figure:
    """Draw the mean test value of each learner with its interval over seeds."""
    rows = {
        short_name(varied) or "all jobs": (result.mean, result.half_width)
        for varied, result in over_seeds(sweep.jobs)
    }
    return draw_comparison(rows, _axis_title(sweep), title)


def draw_validations(sweep: Sweep, title: str) -> Figure | None:
    """Draw the validations of every job, a colour per learner; None if they cannot be drawn."""
    column = f"val/{sweep.metric}"
    learners: dict[str, list[Curve]] = {}
    for job in sweep.jobs:
        if job.status != UNREADABLE:
            rows = [row for row in read_rows(job.folder.metrics) if row.get(column)]
            name = short_name({k: v for k, v in job.varied.items() if k != SEED}) or "all jobs"
            if rows:
                curve = [(int(row["step"]), float(row[column])) for row in rows]
                learners.setdefault(name, []).append(curve)
    return draw_validation_curves(learners, f"validation {sweep.metric.replace('_', ' ')}", title)


def _axis_title(sweep: Sweep) -> str:
    return f"{sweep.split} {sweep.metric.replace('_', ' ')}, 95 % interval over seeds"


def _number(mean: float, half_width: float | None) -> str:
    return f"{mean:.4f}" if half_width is None else f"{mean:.4f} +/- {half_width:.4f}"
