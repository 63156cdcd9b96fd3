"""What a sweep has done so far: its jobs, what varied between them, and what came out.

Reads run folders only, whatever state they are in.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
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
UNREADABLE = "unreadable"  # the state of a run whose record is damaged


class Result(NamedTuple):
    """A mean with the half-width of its 95 % interval, and over how many and over what it is."""

    mean: float
    half_width: float | None
    values: int
    interval: Interval


class Record(NamedTuple):
    """What a run folder says of its run."""

    overrides: Mapping[str, str]
    rows: Sequence[Mapping[str, str]]
    modes: Mapping[str, str | None]
    results: Judged
    status: str
    error: str


class Job(NamedTuple):
    """One run of a sweep; values that it has not come to are None."""

    folder: RunFolder
    varied: Mapping[str, str]
    status: str
    validation: float | None
    test: Result | None
    error: str


class Sweep(NamedTuple):
    """All jobs, what varied between them, and what the two columns of values hold."""

    jobs: Sequence[Job]
    keys: Sequence[str]
    metric: str
    split: str


def is_sweep(folder: Path) -> bool:
    """Whether it is a folder, and not a run's itself."""
    is_folder = os.path.isdir(folder)  # noqa: PTH112 - pathlib raises for long names
    return is_folder and not RunFolder(folder).config.is_file()


def runs_in(root: Path) -> list[RunFolder]:
    """The run folders in a sweep's folder.

    Raises:
        UserError: it is no folder, or no run is in it.

    """
    if not root.is_dir():
        raise UserError(f"There is no folder {root}. Name a sweep's folder: outputs/multirun/DATE.")
    folders = [RunFolder(p.parent) for p in sorted(root.glob("*/config.yaml"))]
    if not folders:
        raise UserError(f"{root} holds no runs. Name the folder that the sweep's jobs are in.")
    return folders


def read_sweep(root: Path, metric: str | None = None, split: str = "test") -> Sweep:
    """Read every run folder below a folder.

    Args:
        root: the sweep's folder, or any that holds runs.
        metric: what the values are of; None takes accuracy where the runs log it, else
            query_loss.
        split: whose evaluation the test value is from.

    Raises:
        UserError: it is no folder, no run is in it, or no run logs the metric.

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
    varied = iter(what_varied([r.overrides for r in records if r.status != UNREADABLE]))
    jobs = [
        Job(
            folder,
            {} if record.status == UNREADABLE else next(varied),
            record.status,
            _best(record.rows, chosen, record.modes.get(chosen)),
            _test(record.results, chosen),
            record.error,
        )
        for folder, record in zip(folders, records, strict=True)
    ]
    keys = max((list(job.varied) for job in jobs), key=len)  # of one that could be read
    return Sweep(jobs, keys, chosen, split)


def overrides_by_key(folder: RunFolder) -> dict[str, str]:
    """What the user changed for a run: values by their keys."""
    pairs = (line.lstrip("+~").partition("=") for line in read_overrides(folder))
    return {key: value for key, _, value in pairs}


def what_varied(overrides: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Of each job's overrides those that not all jobs share."""
    keys = dict.fromkeys(key for job in overrides for key in job)
    differing = [key for key in keys if len({job.get(key) for job in overrides}) > 1]
    return [{key: job.get(key, "") for key in differing} for job in overrides]


def short_name(varied: Mapping[str, str]) -> str:
    """Name a job, or several, by what varied, keys without their sections; empty for nothing."""
    return ", ".join(f"{key.split('.')[-1]}={value}" for key, value in varied.items())


def over_seeds(jobs: Sequence[Job]) -> list[tuple[dict[str, str], Result]]:
    """The mean test value of jobs that differ in their seed alone, in the order of their folders.

    The interval is Student's, over seeds: it says how much another seed may change, which the
    interval over episodes does not.
    """
    groups: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for job in jobs:
        if job.test is not None:
            key = tuple((k, v) for k, v in job.varied.items() if k != SEED)
            groups.setdefault(key, []).append(job.test.mean)
    return [(dict(key), over_values(values)) for key, values in groups.items()]


def write_csv(sweep: Sweep, path: Path) -> None:
    """Write one row a job."""
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
    """Read a run's record; of one that cannot be read, only why."""
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
    """The mean of independent values, one a run, with Student's interval."""
    mean, half_width, count = estimate(torch.tensor(values, dtype=torch.float64))
    return Result(float(mean), float(half_width) if count > 1 else None, count, "seeds")
