"""What an evaluation prints: a table of the adaptation, and the published values beside."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from rich.table import Table

from metaloop.run.evaluation.results import CALIBRATION_ERROR, Results, interval_of
from metaloop.tasks.metric import PROPER_SCORES
from metaloop.training.estimate import INTERVALS
from metaloop.user_text import Terminal

SHOWN_STEPS = (0, 1, 3, 5, 10)


def print_results(results: Results, folder: Path) -> None:
    """Print what an evaluation found, and where all of it is."""
    console = Terminal()
    for part in describe_results(results):
        console.print(part, soft_wrap=isinstance(part, str))
    console.print(f"Results: {folder / 'results.json'}", soft_wrap=True)


def describe_results(results: Results) -> Iterator[Table | str]:
    """Loss and metrics at some inner steps, the gain, calibration, and published values."""
    steps, metrics, protocol = results["inner_steps"], results["metrics"], results["protocol"]
    assert isinstance(steps, list)
    assert isinstance(metrics, dict)
    assert isinstance(protocol, dict)
    interval = interval_of(protocol)
    title = f"{results['episodes']} {protocol['split']} episodes, mean and {interval} 95 % interval"
    shown = {
        name: values
        for name, values in metrics.items()
        if name == "support_loss"
        or ("support_" not in name and name.partition("@")[0] not in PROPER_SCORES)
    }
    table = tabulate_steps(shown, steps, trained=int(protocol["inner_steps"]))
    table.title, table.caption = title, f"{interval}: {INTERVALS[interval]}"
    yield table
    if isinstance(sources := results.get("by_source"), dict):
        yield _by_source(sources, list(shown))
    gain = results["adaptation_gain"]
    assert isinstance(gain, dict)
    yield (
        f"Adaptation gain (query loss before - after {len(steps) - 1} steps): "
        f"{_number('query_loss', gain['mean'], gain['ci95'])}"
    )
    if isinstance(calibration := results.get("calibration"), dict):
        error = calibration[CALIBRATION_ERROR]
        yield (
            f"Calibration after {len(steps) - 1} steps: expected calibration error "
            f"{_number('accuracy', error['mean'], error['ci95'])}, negative log-likelihood "
            f"{_cell('nll', metrics['nll'], -1)}, Brier score "
            f"{_cell('brier', metrics['brier'], -1)}."
        )
    if isinstance(classes := results.get("classes"), list):
        yield f"Classes met: {len(classes)}, named in results.json."
    yield from _describe_published(results)


def tabulate_steps(
    metrics: Mapping[str, Mapping[str, list[float]]], steps: Sequence[int], trained: int
) -> Table:
    """Each metric before adaptation, after some inner steps, and after the last."""
    table = Table("inner step", *(name.replace("_", " ") for name in metrics))
    for step in sorted({*SHOWN_STEPS, trained, len(steps) - 1} & set(steps)):
        label = f"{step} (as trained)" if step == trained else str(step)
        table.add_row(label, *(_cell(name, values, step) for name, values in metrics.items()))
    return table


def _by_source(sources: Mapping[str, Results], names: Sequence[str]) -> Table:
    """Each source's values after the last inner step."""
    table = Table("source", "episodes", *(n.replace("_", " ") for n in names), title="By source")
    for source, results in sources.items():
        metrics = results["metrics"]
        assert isinstance(metrics, dict)
        cells = [_cell(name, metrics[name], -1) for name in names]
        table.add_row(source, str(results["episodes"]), *cells)
    return table


def _describe_published(results: Results) -> Iterator[Table | str]:
    published, overrides = results["published"], results["overrides"]
    assert isinstance(published, list)
    assert isinstance(overrides, list)
    if not published:
        return
    ours = f"ours, {interval_of(cast(Results, results['protocol']))}"
    table = Table("metric", "inner step", "published", ours, "source", title="Beside the paper")
    for row in published:
        name, width = str(row["metric"]), row.get("ci95")
        cells = [
            _number(name, row["mean"], width),
            _number(name, row["ours"]["mean"], row["ours"]["ci95"]),
        ]
        table.add_row(name.replace("_", " "), str(row["inner_step"]), *cells, str(row["source"]))
    yield table
    for note in dict.fromkeys(str(row["note"]) for row in published if row.get("note")):
        yield f"Of the published value: {note}."
    yield f"Ours is of: {' '.join(overrides)}"


def _cell(name: str, values: Mapping[str, list[float]], step: int) -> str:
    return _number(name, values["mean"][step], values["ci95"][step])


def _number(name: str, mean: float | None, width: float | None) -> str:
    if mean is None:
        return "diverged"
    style = ".2%" if "accuracy" in name else ".4f"
    return f"{mean:{style}} {_interval(width, style)}".strip()


def _interval(width: float | None, style: str) -> str:
    return "" if width is None else f"+/- {width:{style}}"
