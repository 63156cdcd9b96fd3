"""What a sweep has done so far: its jobs, what varied between them, and what came out.

Reads run folders only, whatever state they are in.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_table
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.write import read_overrides
from metaloop.run.evaluation.results import read_results

SEED = "seed"


class Result(NamedTuple):
    """A mean with the half-width of its 95 % interval, and over how many it is."""

    mean: float
    half_width: float | None
    values: int


class Job(NamedTuple):
    """One run of a sweep; values that it has not come to are None."""

    folder: RunFolder
    varied: Mapping[str, str]
    status: str
    validation: float | None
    test: Result | None
    error: str


class Sweep(NamedTuple):
    """All jobs, and the names of what the two columns of values hold."""

    jobs: Sequence[Job]
    metric: str
    split: str


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
    if not root.is_dir():
        raise UserError(f"There is no folder {root}. Name a sweep's folder: outputs/multirun/DATE.")
    folders = [RunFolder(p.parent) for p in sorted(root.glob("*/config.yaml"))]
    if not folders:
        raise UserError(f"{root} holds no runs. Name the folder that the sweep's jobs are in.")
    rows = {folder.path: read_rows(folder.metrics) for folder in folders}
    logged = {name for of_run in rows.values() for row in of_run for name in row}
    results = {folder.path: read_results(folder, split) for folder in folders}
    tested = {name for of_run in results.values() for name in of_run["metrics"]}
    known = {n.removeprefix("val/") for n in logged if n.startswith("val/")} | tested
    chosen = metric or ("accuracy" if "accuracy" in known else "query_loss")
    if metric is not None and metric not in known:
        choices = ", ".join(sorted(known)) or "none yet"
        raise UserError(f"No run has a value of {metric}. Choose one of: {choices}.")
    varied = what_varied([_overrides(folder) for folder in folders])
    jobs = []
    for folder, values in zip(folders, varied, strict=True):
        jobs.append(
            Job(
                folder,
                values,
                folder.state(),
                _best(rows[folder.path], chosen),
                _test(results[folder.path], chosen),
                str(folder.read_status().get("error", "")),
            )
        )
    return Sweep(jobs, chosen, split)


def what_varied(overrides: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Of each job's overrides those that not all jobs share."""
    keys = dict.fromkeys(key for job in overrides for key in job)
    differing = [key for key in keys if len({job.get(key) for job in overrides}) > 1]
    return [{key: job.get(key, "") for key in differing} for job in overrides]


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
    return [(dict(key), _interval(values)) for key, values in groups.items()]


def write_csv(sweep: Sweep, path: Path) -> None:
    """Write one row a job."""
    keys = list(sweep.jobs[0].varied)
    test = f"{sweep.split}/{sweep.metric}"
    rows: list[list[object]] = [
        ["folder", *keys, "status", f"best val/{sweep.metric}", test, f"{test}_ci95"]
    ]
    for job in sweep.jobs:
        values = ("", "") if job.test is None else (job.test.mean, job.test.half_width)
        rows.append(
            [job.folder.path.name, *job.varied.values(), job.status, job.validation, *values]
        )
    write_table(path, rows)


def _overrides(folder: RunFolder) -> dict[str, str]:
    lines = read_overrides(folder) if folder.overrides.is_file() else []
    pairs = (line.lstrip("+~").partition("=") for line in lines)
    return {key: value for key, _, value in pairs}


def _best(rows: Sequence[Mapping[str, str]], metric: str) -> float | None:
    values = [float(row[f"val/{metric}"]) for row in rows if row.get(f"val/{metric}")]
    if not values:
        return None
    return min(values) if metric.endswith("loss") else max(values)


def _test(results: Mapping[str, Any], metric: str) -> Result | None:
    found = results["metrics"].get(metric)
    if found is None or found["mean"][-1] is None:
        return None
    return Result(found["mean"][-1], found["ci95"][-1], results["episodes"])


def _interval(values: Sequence[float]) -> Result:
    count = len(values)
    if count == 1:
        return Result(values[0], None, 1)
    deviation = float(np.std(values, ddof=1))
    width = float(stats.t.ppf(0.975, count - 1)) * deviation / count**0.5
    return Result(float(np.mean(values)), width, count)
