"""The results of a sweep so far: its jobs, the values that vary, and what they reached.

Reads only run folders, in whatever state.
"""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_table
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.read import read_overrides
from metaloop.run.evaluation.results import Judged, read_results
from metaloop.training.estimate import Interval, estimate

SEED = "seed"
UNREADABLE = "unreadable"  # state of a run with damaged files


class Result(NamedTuple):
    """A mean of some values, with the half-width and the kind of its 95 % interval."""

    mean: float
    half_width: float | None
    values: int
    interval: Interval


class Record(NamedTuple):
    """The content of a run folder."""

    overrides: Mapping[str, str]
    rows: Sequence[Mapping[str, str]]
    modes: Mapping[str, str | None]
    results: Judged
    status: str
    error: str


class Job(NamedTuple):
    """One run of a sweep; values that it has not reached yet are None."""

    folder: RunFolder
    varied: Mapping[str, str]
    status: str
    validation: float | None
    test: Result | None
    error: str


class Sweep(NamedTuple):
    """All jobs, the keys that vary between them, and the metric and split of the values.

    Attributes:
        jobs: the one with the best validation first; without validations that with the best test.
        mode: the better direction; None if the metric does not define it, or is not measured yet.
        inner_steps: the last inner steps of the jobs, after which the test values are measured.

    """

    jobs: Sequence[Job]
    keys: Sequence[str]
    metric: str
    mode: str | None
    split: str
    inner_steps: Collection[int]


def is_sweep(folder: Path) -> bool:
    """Check for a folder that is not itself a run's."""
    is_folder = os.path.isdir(folder)  # noqa: PTH112 - pathlib raises for long names
    return is_folder and not RunFolder(folder).config.is_file()


def runs_in(root: Path) -> list[RunFolder]:
    """Return the run folders in a sweep's folder.

    Raises:
        UserError: if it is not a folder, or contains no runs.

    """
    if not root.is_dir():
        raise UserError(f"There is no folder {root}. Name a sweep's folder: outputs/multirun/DATE.")
    folders = [RunFolder(p.parent) for p in sorted(root.glob("*/config.yaml"))]
    if not folders:
        raise UserError(f"{root} contains no runs. Name the folder that the sweep's jobs are in.")
    return folders


def read_sweep(root: Path, metric: str | None = None, split: str = "test") -> Sweep:
    """Read every run folder below a folder.

    Args:
        root: the sweep's folder, or any that contains runs.
        metric: metric of the values; None for accuracy if the runs log it, else query_loss.
        split: the evaluation of the test values.

    Raises:
        UserError: if it is not a folder, contains no runs, or none logs the metric.

    """
    folders = runs_in(root)
    records = [_read_record(folder, split) for folder in folders]
    logged = {name for record in records for row in record.rows for name in row}
    tested = {name for record in records for name in record.results.metrics}
    known = {n.removeprefix("val/") for n in logged if n.startswith("val/")} | tested
    chosen = metric or ("accuracy" if "accuracy" in known else "query_loss")
    if metric is not None and metric not in known:
        choose = f"Choose one of: {', '.join(sorted(known))}" if known else "None has any yet"
        raise UserError(f"No run here has a value of metric={metric}. {choose}.")
    modes = (record.modes.get(chosen.partition("@")[0]) for record in records)
    mode = next((mode for mode in modes if mode in ("min", "max")), None)
    varied = iter(find_varied([r.overrides for r in records if r.status != UNREADABLE]))
    jobs = [
        Job(
            folder,
            {} if record.status == UNREADABLE else next(varied),
            record.status,
            _best(record.rows, chosen, mode),
            _test(record.results, chosen),
            record.error,
        )
        for folder, record in zip(folders, records, strict=True)
    ]
    keys = max((list(job.varied) for job in jobs), key=len)  # of a readable job
    curves = [r.results.metrics[chosen] for r in records if chosen in r.results.metrics]
    jobs.sort(key=lambda job: _rank(_decisive(job), mode))
    return Sweep(jobs, keys, chosen, mode, split, {len(curve.mean) - 1 for curve in curves})


def overrides_by_key(folder: RunFolder) -> dict[str, str]:
    """Return a run's overrides, values by key."""
    pairs = (line.lstrip("+~").partition("=") for line in read_overrides(folder))
    return {key: value for key, _, value in pairs}


def find_varied(overrides: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the overrides of each job that differ between jobs."""
    keys = dict.fromkeys(key for job in overrides for key in job)
    differing = [key for key in keys if len({job.get(key) for job in overrides}) > 1]
    return [{key: job.get(key, "") for key in differing} for job in overrides]


def short_name(varied: Mapping[str, str]) -> str:
    """Name a job by its varied values, keys without sections; empty if nothing varies."""
    return ", ".join(f"{key.split('.')[-1]}={value}" for key, value in varied.items())


def by_learner(sweep: Sweep) -> list[tuple[dict[str, str], list[Result]]]:
    """Group the test values of jobs that differ only in their seed, the best mean first."""
    groups: dict[tuple[tuple[str, str], ...], list[Result]] = {}
    for job in sweep.jobs:
        if job.test is not None:
            key = tuple((k, v) for k, v in job.varied.items() if k != SEED)
            groups.setdefault(key, []).append(job.test)
    found = [(dict(key), results) for key, results in groups.items()]
    return sorted(found, key=lambda group: _rank(fmean(r.mean for r in group[1]), sweep.mode))


def over_seeds(sweep: Sweep) -> list[tuple[dict[str, str], Result]]:
    """Average the test values of jobs that differ only in their seed.

    Student's interval over seeds includes the variation between seeds, unlike that over episodes.
    """
    return [
        (varied, over_values([result.mean for result in results]))
        for varied, results in by_learner(sweep)
    ]


def write_csv(sweep: Sweep, path: Path) -> None:
    """Write one row per job."""
    test = f"{sweep.split}/{sweep.metric}"
    rows: list[list[object]] = [
        [
            "folder",
            *sweep.keys,
            "status",
            f"best val/{sweep.metric}",
            test,
            f"{test}_ci95",
            f"{sweep.split}/interval",
        ]
    ]
    for job in sweep.jobs:
        values = ("", "", "") if job.test is None else job.test[:2] + job.test[3:]
        varied = [job.varied.get(key, "") for key in sweep.keys]
        rows.append([job.folder.path.name, *varied, job.status, job.validation, *values])
    write_table(path, rows)


def _read_record(folder: RunFolder, split: str) -> Record:
    """Read a run's folder; if it cannot be read, only the reason."""
    try:
        return Record(
            overrides_by_key(folder),
            read_rows(folder.metrics),
            folder.read_best_modes(),
            read_results(folder, split),
            folder.state(),
            folder.why_ended(),
        )
    except UserError as error:
        return Record({}, [], {}, Judged({}), UNREADABLE, str(error))


def _decisive(job: Job) -> float | None:
    """Return the value that ranks a job: its best validation, or without any its test value."""
    test = None if job.test is None else job.test.mean
    return test if job.validation is None else job.validation


def _rank(value: float | None, mode: str | None) -> tuple[bool, float]:
    """Return a sort key: better values come first, no value last; no direction keeps the order."""
    if value is None or mode is None:
        return value is None, 0.0
    return False, value if mode == "min" else -value


def _best(rows: Sequence[Mapping[str, str]], metric: str, mode: str | None) -> float | None:
    found = [float(row[f"val/{metric}"]) for row in rows if row.get(f"val/{metric}")]
    values = [value for value in found if math.isfinite(value)]
    if not values or mode is None:
        return None
    return min(values) if mode == "min" else max(values)


def _test(results: Judged, metric: str) -> Result | None:
    found = results.metrics.get(metric)
    if found is None or (mean := found.mean[-1]) is None:
        return None
    return Result(mean, found.ci95[-1], results.episodes, results.interval)


def over_values(values: Sequence[float]) -> Result:
    """Average independent values, one per run, with Student's interval."""
    mean, half_width, count = estimate(torch.tensor(values, dtype=torch.float64))
    return Result(float(mean), float(half_width) if count > 1 else None, count, "seeds")
