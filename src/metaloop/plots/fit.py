"""Draw a regression task with one input and one output, before and after adaptation."""

from collections.abc import Mapping
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from metaloop.episode import Episode, Examples, the_tensor
from metaloop.plots.names import step_name
from metaloop.plots.palette import BLUE, GREEN, ORANGE, VERMILION
from metaloop.plots.title import set_title
from metaloop.user_text import for_figure


def draw_fit(
    episode: Episode,
    grid: Tensor,
    predictions: Mapping[int, Tensor],
    losses: Mapping[int, float],
    *,
    judged_by: Literal["query", "support"] = "query",
    truth: Tensor | None = None,
    axes: tuple[str, str] = ("x", "y"),
    title: str = "",
) -> Figure:
    """Draw one task's points and the learner's curve after several inner steps.

    Args:
        episode: one task: inputs and targets [.., 1].
        grid: [G, 1].
        predictions: of phi_k on the grid, [G, 1], by k.
        losses: of phi_k on the set `judged_by`, by k.
        judged_by: support if there are no labelled query points, which are then not drawn.
        truth: the task's own function on the grid, [G, 1], if known.
        axes: names of input and target.
        title: stands over the picture.

    """
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    axis = figure.subplots()
    if truth is not None:
        axis.plot(grid[:, 0], truth[:, 0], color="0.75", linewidth=5, label="true function")
    last = max(predictions)
    for step, curve in predictions.items():
        label = f"{step_name(step)}, {judged_by} loss {losses[step]:.3g}"
        between = (GREEN, "-.", 1.2)
        color, dashes, width = {0: (VERMILION, "--", 1.5), last: (BLUE, "-", 1.8)}.get(
            step, between
        )
        axis.plot(grid[:, 0], curve[:, 0], dashes, color=color, linewidth=width, label=label)
    if judged_by == "query":
        _draw_points(axis, episode.query, "o", "white", 4, "query points")
    _draw_points(axis, episode.support, "^", ORANGE, 8, "support points")
    axis.set_xlabel(for_figure(axes[0]))
    axis.set_ylabel(for_figure(axes[1]))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    set_title(figure, title)
    return figure


def _draw_points(
    axis: Axes, points: Examples, marker: str, fill: str, size: float, label: str
) -> None:
    axis.plot(
        the_tensor(points.inputs)[:, 0],
        points.targets[:, 0],
        marker,
        color=fill,
        markeredgecolor="black",
        markersize=size,
        label=label,
        zorder=3,  # above all curves
    )
