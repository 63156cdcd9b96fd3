"""Draw results side by side, each with its interval."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from metaloop.user_text import for_figure


def draw_comparison(
    results: Mapping[str, tuple[float, float | None]], axis_title: str, title: str
) -> Figure:
    """Draw a row per result: its mean and, if given, the half-width of its interval."""
    figure = Figure(figsize=(7.0, 1.3 + 0.32 * len(results)), layout="constrained")
    axis = figure.subplots()
    for row, (mean, half_width) in enumerate(results.values()):
        axis.errorbar(mean, row, xerr=half_width, fmt="o", color="C0", capsize=3)
    axis.set_yticks(range(len(results)), list(map(for_figure, results)), fontsize=8)
    axis.set_ylim(len(results) - 0.5, -0.5)
    axis.set_xlabel(for_figure(axis_title))
    axis.grid(axis="x", alpha=0.3)
    axis.set_title(for_figure(title), fontsize=10)
    return figure


def draw_differences(
    differences: Mapping[str, tuple[float, float]], axis_title: str, title: str
) -> Figure:
    """Draw a row a difference with its interval, and the line of no difference."""
    figure = draw_comparison(differences, axis_title, title)
    (axis,) = figure.axes
    axis.axvline(0.0, color="0.4", linewidth=1.0)
    return figure
