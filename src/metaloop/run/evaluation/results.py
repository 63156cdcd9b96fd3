"""results.json and episodes.csv: what an evaluation found, with the protocol that found it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from metaloop.folders.atomic_write import write_json, write_table
from metaloop.folders.reading import parse_json, read_text
from metaloop.folders.run_folder import RunFolder
from metaloop.inner_loop import Report
from metaloop.training.calibration import Reliability
from metaloop.training.confusion import Confusion, rows_of
from metaloop.training.estimate import EpisodeInterval, estimate
from metaloop.user_text import for_hydra, for_shell

Results = dict[str, object]
CALIBRATION_ERROR = "expected_calibration_error"


@dataclass(frozen=True)
class Curve:
    """A metric at every inner step; None where it diverged, or has no interval."""

    mean: Annotated[list[float | None], Field(min_length=1)]
    ci95: Annotated[list[float | None], Field(min_length=1)]


@dataclass(frozen=True)
class Judged:
    """What others read of results.json."""

    metrics: dict[str, Curve]
    episodes: int = 0
    protocol: dict[str, object] = field(default_factory=dict)

    @property
    def interval(self) -> EpisodeInterval:
        """What the intervals are over: closed or open."""
        return interval_of(self.protocol)


def summarize_results(evaluated: Report) -> Results:
    """Mean and 95 % half-width of every metric at every inner step, and the adaptation gain."""
    episodes, steps = next(iter(evaluated.values())).shape
    metrics = {}
    for name, values in evaluated.items():
        mean, half_width, _ = estimate(values)
        metrics[name] = {"mean": finite(mean.tolist()), "ci95": finite(half_width.tolist())}
    gain = estimate(evaluated["query_loss"][:, :1] - evaluated["query_loss"][:, -1:])
    return {
        "episodes": episodes,
        "inner_steps": list(range(steps)),
        "metrics": metrics,
        "adaptation_gain": {
            "mean": finite(gain.mean.tolist())[0],
            "ci95": finite(gain.half_width.tolist())[0],
        },
    }


def summarize_calibration(reliability: Reliability) -> Results:
    """The expected calibration error after the last inner step, and the bins of confidence."""
    mean, half_width, _ = reliability.error
    share = reliability.right / reliability.examples
    return {
        CALIBRATION_ERROR: {"mean": float(mean), "ci95": finite([float(half_width)])[0]},
        "bins": {
            "examples": reliability.examples.tolist(),
            "confidence": finite(reliability.confidence.tolist()),
            "accuracy": finite(share.tolist()),
        },
    }


def write_results(
    folder: Path,
    results: Results,
    evaluated: Report,
    columns: Mapping[str, Sequence[object]] = {},
) -> None:
    """Write results.json, and episodes.csv with one row an episode; `columns` tell them apart."""
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
    """Read the results of one of a run's evaluations; no metrics where there are none yet.

    Raises:
        UserError: they cannot be read.

    """
    path = run.evaluations / name / "results.json"
    again = for_shell("metaloop-evaluate", run.path, for_hydra("evaluation.split", name))
    remedy = f"Evaluate again: {again}."
    text = read_text(path, remedy)
    return Judged({}) if text is None else parse_json(text, path, Judged, remedy)


def write_confusion(folder: Path, confusion: Confusion, class_name: Callable[[int], str]) -> None:
    """Write confusion.csv: each pair of classes once mistaken, how often, of how many times."""
    rows = [(class_name(a), class_name(b), times, met) for a, b, times, met in rows_of(confusion)]
    header = ("class", "taken_for", "times", "was_a_choice")
    write_table(folder / "confusion.csv", [header, *rows])


def ours_beside(
    published: Sequence[Mapping[str, object]], results: Results, config: Mapping[str, object]
) -> list[dict[str, object]]:
    """Each published value with ours at its metric and inner step.

    Only those of the same protocol: a value measured in another way is no comparison.
    """
    metrics = results["metrics"]
    assert isinstance(metrics, dict)
    judged = cast(Mapping[str, object], config.get("evaluation", {}))
    beside = []
    for value in published:
        step, found = value["inner_step"], metrics.get(value["metric"])
        assert isinstance(step, int)
        is_ours = not unlike(value, config)
        if is_ours and found is not None and step < len(found["mean"]):
            ours = {"mean": found["mean"][step], "ci95": found["ci95"][step]}
            beside.append({**value, "ours": {**ours, "interval": interval_of(judged)}})
    return beside


def interval_of(judged: Mapping[str, object]) -> EpisodeInterval:
    """What intervals are over, by a protocol or a config's `evaluation`: closed in older ones."""
    return cast(EpisodeInterval, judged.get("interval", "closed"))


def unlike(value: Mapping[str, object], config: Mapping[str, object]) -> dict[str, object]:
    """What a config would have to say to be of a published value's protocol and does not.

    The protocol is the value's `where` and the config's `published_where`, which all its published
    values have in common: keys of the config and their values.
    """
    common, own = config.get("published_where", {}), value.get("where", {})
    assert isinstance(common, Mapping)
    assert isinstance(own, Mapping)
    where = {**common, **own}
    return {key: wanted for key, wanted in where.items() if _look_up(config, key) != wanted}


def _look_up(config: Mapping[str, object], dotted_key: str) -> object:
    value: object = config
    for part in dotted_key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def finite(values: list[float]) -> list[float | None]:
    """JSON has no nan and no infinity: one episode has no interval, a diverged loss no mean."""
    return [v if math.isfinite(v) else None for v in values]
