"""Draw learned step sizes, tensor by tensor."""

from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from metaloop.inner_loop import LearnedAlpha, learned_step_sizes
from metaloop.plots.palette import BLUE, ORANGE
from metaloop.plots.title import set_title
from metaloop.user_text import for_figure

SHOWN = 40  # maximum number of tensors
IN_CELLS = 12  # maximum number of inner steps whose values are written into their cells


def draw_step_sizes(meta: Mapping[str, Tensor], title: str = "") -> Figure | None:
    """Draw a row per tensor: its step sizes over the inner steps, or over its elements.

    Returns None if the algorithm has no learned step sizes.
    """
    learned = dict(list(learned_step_sizes(meta).items())[:SHOWN])
    if not learned:
        return None
    figure = Figure(figsize=(7.0, 1.6 + 0.26 * len(learned)), layout="constrained")
    axis = figure.subplots()
    if next(iter(learned.values())).is_per_step:
        _draw_steps(figure, axis, learned)
    else:
        _draw_spread(axis, learned)
    axis.set_yticks(range(len(learned)), list(map(for_figure, learned)), fontsize=7)
    set_title(figure, title)
    return figure


def _draw_steps(figure: Figure, axis: Axes, learned: Mapping[str, LearnedAlpha]) -> None:
    rows = torch.stack([alpha.values for alpha in learned.values()]).float().cpu()
    largest = float(rows.abs().max())
    image = axis.imshow(rows.numpy(), aspect="auto", cmap="PuOr", vmin=-largest, vmax=largest)
    if rows.shape[1] <= IN_CELLS:
        for i, row in enumerate(rows.tolist()):
            for j, value in enumerate(row):
                color = "white" if abs(value) > 0.6 * largest else "black"
                axis.text(j, i, f"{value:.2g}", ha="center", va="center", color=color, fontsize=7)
    axis.set_xticks(range(rows.shape[1]), [str(step + 1) for step in range(rows.shape[1])])
    axis.set_xlabel("inner step")
    figure.colorbar(image, ax=axis, label="learned step size")


def _draw_spread(axis: Axes, learned: Mapping[str, LearnedAlpha]) -> None:
    levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    for row, alpha in enumerate(learned.values()):
        values = alpha.values.flatten().float().cpu()
        low, quarter, middle, three, high = values.quantile(levels).tolist()
        axis.plot([low, high], [row, row], color=BLUE, linewidth=1)
        axis.plot([quarter, three], [row, row], color=BLUE, linewidth=4)
        axis.plot(middle, row, "o", color=ORANGE, markeredgecolor="black", markersize=5)
    axis.axvline(0, color="0.7", linewidth=0.8)
    axis.invert_yaxis()
    axis.set_xlabel("learned step size of the elements: 5, 25, 50, 75 and 95 % of them are below")
