"""The content of an evaluation's or adaptation's sections: tables, pictures, protocol."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from rich.table import Table

from metaloop.folders.reading import parse_json, read_text
from metaloop.folders.run_folder import RunFolder
from metaloop.run.adaptation.adaptation_curve import JUDGES
from metaloop.run.evaluation.printed_results import describe_results, tabulate_steps
from metaloop.run.evaluation.results import Curve, Results
from metaloop.run.report.html import Html, grid, pairs, paragraph, typeset
from metaloop.run.report.pictures import embed_all
from metaloop.run.report.protocol import describe_versions, explain_interval
from metaloop.training.estimate import INTERVALS
from metaloop.user_text import for_shell

Shape = TypeVar("Shape")


@dataclass(frozen=True)
class Mean:
    """A mean with the half-width of its interval; None if it diverged, or has no interval."""

    mean: float | None
    ci95: float | None


@dataclass(frozen=True)
class InnerLoop:
    """The part of a protocol that a page needs."""

    inner_steps: int
    interval: str = "closed"
    split: str = ""


@dataclass(frozen=True)
class Evaluated:
    """The part of an evaluation's results.json that a page needs."""

    episodes: int
    inner_steps: list[int]
    metrics: dict[str, Curve]
    adaptation_gain: Mean
    protocol: InnerLoop
    published: list[dict[str, object]]
    overrides: list[str]


@dataclass(frozen=True)
class AdaptedTo:
    """The part of an adaptation's results.json that a page needs."""

    inner_steps: list[int]
    metrics: dict[str, Curve]
    protocol: InnerLoop
    judged_by: str


def show_evaluation(folder: RunFolder, of: str) -> Iterator[Html]:
    """Show an evaluation's tables and pictures; nothing if it has no results yet."""
    if (results := _read(folder, Evaluated)) is not None:
        yield from map(_table_or_text, describe_results(results))
        yield from embed_all(folder.path, of)


def show_adaptation(folder: RunFolder, of: str) -> Iterator[Html]:
    """Show an adaptation's table and pictures; nothing if it has no results yet."""
    if (results := _read(folder, AdaptedTo)) is None:
        return
    protocol = cast(Mapping[str, int], results["protocol"])
    metrics = cast(Mapping[str, Mapping[str, list[float]]], results["metrics"])
    steps = cast(list[int], results["inner_steps"])
    table = tabulate_steps(metrics, steps, trained=protocol["inner_steps"])
    table.title = f"Judged {JUDGES.get(str(results['judged_by']), 'in an unknown way')}"
    table.caption = f"95 % interval {INTERVALS['examples']}"
    yield grid(table)
    yield from embed_all(folder.path, of)


def show_protocol(folder: RunFolder) -> Iterator[Html]:
    """Show how an evaluation or adaptation was made, as its results.json says."""
    if (results := _read(folder, dict[str, object])) is None:
        return
    protocol = results.get("protocol")
    shown = {} if not isinstance(protocol, Mapping) else dict(protocol)
    interval = results.get("interval") or shown.get("interval", "closed")
    shown["interval"] = explain_interval(interval)
    shown["versions"] = describe_versions(results.get("versions"))
    yield pairs({n.replace("_", " "): value for n, value in shown.items() if value is not None})


def _table_or_text(part: Table | str) -> Html:
    return grid(part) if isinstance(part, Table) else paragraph(typeset(part))


def _read(folder: RunFolder, shape: Callable[..., object]) -> Results | None:
    """Read results.json, checked against what a page needs; None if there is no such file."""
    path = folder.path / "results.json"
    again = for_shell("python", "-m", "metaloop.run", folder.path)
    remedy = f"Make it again: {again}."
    if (text := read_text(path, remedy)) is None:
        return None
    parse_json(text, path, cast(type[object], shape), remedy)
    return parse_json(text, path, Results, remedy)
