"""Draw results side by side, each with its interval."""

from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.figure import Figure

from metaloop.plots.palette import MARKERS
from metaloop.plots.title import set_title
from metaloop.user_text import for_figure


class Bar(NamedTuple):
    """A mean, the half-width of its interval if it has one, and what the interval is over."""

    mean: float
    half_width: float | None
    over: str = ""


def draw_comparison(results: Mapping[str, Bar], axis_title: str, title: str) -> Figure:
    """Draw a row per result, with a colour, a marker and a legend per kind of interval."""
    kinds = list(dict.fromkeys(bar.over for bar in results.values()))
    lines = sum(name.count("\n") + 1 for name in results)
    figure = Figure(figsize=(7.0, 1.6 + 0.25 * len(results) + 0.15 * lines), layout="constrained")
    axis = figure.subplots()
    for kind, (color, marker) in zip(kinds, MARKERS.items(), strict=False):
        rows = {row: bar for row, bar in enumerate(results.values()) if bar.over == kind}
        means, widths = [b.mean for b in rows.values()], [b.half_width for b in rows.values()]
        axis.errorbar(
            means,
            list(rows),
            xerr=[float("nan") if width is None else width for width in widths],
            fmt=marker,
            color=color,
            markersize=5,
            capsize=3,
            label=for_figure(kind),
        )
    axis.set_yticks(range(len(results)), list(map(for_figure, results)), fontsize=8)
    axis.set_ylim(len(results) - 0.5, -0.5)
    axis.set_xlabel(for_figure(axis_title))
    axis.grid(axis="x", alpha=0.3)
    if any(kinds):
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    set_title(figure, title)
    return figure


def draw_differences(results: Mapping[str, Bar], axis_title: str, title: str) -> Figure:
    """Draw a row a difference with its interval, and the line of no difference."""
    figure = draw_comparison(results, axis_title, title)
    (axis,) = figure.axes
    axis.axvline(0.0, color="0.4", linewidth=1.0)
    return figure
