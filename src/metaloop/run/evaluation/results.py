"""The results of an evaluation: results.json, with the protocol, episodes.csv, confusion.csv."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Annotated, TypedDict

from pydantic import Field

from metaloop.folders.atomic_write import write_json, write_table
from metaloop.folders.reading import parse_json, read_text
from metaloop.folders.run_folder import RunFolder
from metaloop.inner_loop import Report
from metaloop.run.config.published import Published, unmet_conditions
from metaloop.training.calibration import Reliability
from metaloop.training.confusion import Confusion, rows_of
from metaloop.training.estimate import EpisodeInterval, estimate
from metaloop.user_text import for_hydra, for_shell

Results = dict[str, object]
CALIBRATION_ERROR = "expected_calibration_error"


@dataclass(frozen=True)
class Curve:
    """A metric at every inner step; None if it diverged, or has no interval."""

    mean: Annotated[list[float | None], Field(min_length=1)]
    ci95: Annotated[list[float | None], Field(min_length=1)]


@dataclass(frozen=True)
class Judged:
    """The part of results.json that is read again."""

    metrics: dict[str, Curve]
    episodes: int = 0
    protocol: dict[str, object] = field(default_factory=dict)

    @property
    def interval(self) -> EpisodeInterval:
        """The kind of the intervals: closed or open."""
        return interval_of(self.protocol)


class Ours(TypedDict):
    """Our value next to a published one; None if it diverged, or has no interval."""

    mean: float | None
    ci95: float | None
    interval: EpisodeInterval


class Compared(Published):
    """A published value with ours, measured under the same protocol."""

    ours: Ours


def summarize_results(evaluated: Report) -> Results:
    """Compute mean and half-width of each metric at each inner step, and the adaptation gain."""
    episodes, steps = next(iter(evaluated.values())).shape
    metrics = {}
    for name, values in evaluated.items():
        mean, half_width, _ = estimate(values)
        metrics[name] = {
            "mean": finite_or_none(mean.tolist()),
            "ci95": finite_or_none(half_width.tolist()),
        }
    gain = estimate(evaluated["query_loss"][:, :1] - evaluated["query_loss"][:, -1:])
    return {
        "episodes": episodes,
        "inner_steps": list(range(steps)),
        "metrics": metrics,
        "adaptation_gain": {
            "mean": finite_or_none(gain.mean.tolist())[0],
            "ci95": finite_or_none(gain.half_width.tolist())[0],
        },
    }


def summarize_calibration(reliability: Reliability) -> Results:
    """Summarise the calibration error after the last inner step, and the bins of confidence."""
    mean, half_width, _ = reliability.error
    share = reliability.right / reliability.examples
    return {
        CALIBRATION_ERROR: {"mean": float(mean), "ci95": finite_or_none([float(half_width)])[0]},
        "bins": {
            "examples": reliability.examples.tolist(),
            "confidence": finite_or_none(reliability.confidence.tolist()),
            "accuracy": finite_or_none(share.tolist()),
        },
    }


def write_results(
    folder: Path,
    results: Results,
    evaluated: Report,
    columns: Mapping[str, Sequence[object]] = {},
) -> None:
    """Write results.json, and episodes.csv with one row per episode; `columns` describe them."""
    names = [f"{n}_step_{k}" for n, v in evaluated.items() for k in range(v.shape[1])]
    judged = [column.tolist() for values in evaluated.values() for column in values.unbind(1)]
    told_apart = zip(*columns.values(), strict=True) if columns else repeat(())
    rows = (
        [i, *apart, *map(repr, row)]
        for i, (apart, row) in enumerate(zip(told_apart, zip(*judged, strict=True), strict=False))
    )
    write_table(folder / "episodes.csv", [["episode", *columns, *names], *rows])
    write_json(folder / "results.json", results)


def read_results(run: RunFolder, name: str) -> Judged:
    """Read the results of one of a run's evaluations; no metrics if there are none yet.

    Raises:
        UserError: if they cannot be read.

    """
    path = run.evaluations / name / "results.json"
    again = for_shell("metaloop-evaluate", run.path, for_hydra("evaluation.split", name))
    remedy = f"Evaluate again: {again}."
    text = read_text(path, remedy)
    return Judged({}) if text is None else parse_json(text, path, Judged, remedy)


def write_confusion(folder: Path, confusion: Confusion, class_name: Callable[[int], str]) -> None:
    """Write confusion.csv: each pair of confused classes, with its mistakes and chances."""
    rows = [(class_name(a), class_name(b), times, met) for a, b, times, met in rows_of(confusion)]
    header = ("class", "taken_for", "times", "was_a_choice")
    write_table(folder / "confusion.csv", [header, *rows])


def add_ours(
    published: Sequence[Published], results: Results, config: Mapping[str, object]
) -> list[Compared]:
    """Add our value to each published one with the same protocol; leave out the others."""
    metrics, judged = results["metrics"], config.get("evaluation", {})
    assert isinstance(metrics, dict)
    assert isinstance(judged, Mapping)
    compared = []
    for value in published:
        step, found = value["inner_step"], metrics.get(value["metric"])
        if found is not None and step < len(found["mean"]) and not unmet_conditions(value, config):
            mean, ci95 = found["mean"][step], found["ci95"][step]
            ours = Ours(mean=mean, ci95=ci95, interval=interval_of(judged))
            compared.append(Compared(**value, ours=ours))
    return compared


def interval_of(judged: Mapping[str, object]) -> EpisodeInterval:
    """Return the kind of a protocol's or an evaluation's intervals; older ones are closed."""
    return "open" if judged.get("interval") == "open" else "closed"


def finite_or_none(values: list[float]) -> list[float | None]:
    """Replace nan and infinity, which JSON lacks, by None."""
    return [v if math.isfinite(v) else None for v in values]
