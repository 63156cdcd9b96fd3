"""Draw loss and accuracy over the inner steps."""

from collections.abc import Mapping
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metaloop.plots.legend import put_legend_below
from metaloop.plots.names import metric_name
from metaloop.plots.palette import BLUE, MARKERS
from metaloop.plots.title import set_title
from metaloop.training.estimate import Estimate
from metaloop.user_text import for_figure

MARKED = 11  # maximum number of steps with a marker, about


def draw_adaptation_curve(
    curves: Mapping[str, Estimate], title: str, trained_steps: int | None = None
) -> Figure:
    """Draw each metric's mean at phi_0 .. phi_K with its 95 % band.

    Variants of one quantity share a panel: on support and query set, under several norm modes
    (`accuracy`, `support_accuracy`, `accuracy@inductive`). The support set's are dashed. A dotted
    line marks the number of inner steps in meta-training. The negative log-likelihood is left out
    where it is the loss.
    """
    panels: dict[str, dict[str, Estimate]] = {}
    for name, curve in curves.items():
        panels.setdefault(_quantity(name), {})[name] = curve
    if _means(panels.get("nll", {})) == _means(panels.get("loss", {})):
        panels.pop("nll", None)
    columns, rows = min(2, len(panels)), -(-len(panels) // 2)
    figure = Figure(figsize=(4.8 * columns, 4.0 * rows), layout="constrained")
    for number, (quantity, variants) in enumerate(panels.items(), 1):
        axis = figure.add_subplot(rows, columns, number)
        _draw_panel(axis, variants, trained_steps)
        axis.set_ylabel(for_figure(metric_name(quantity)))
    set_title(figure, title)
    return figure


def _draw_panel(axis: Axes, curves: Mapping[str, Estimate], trained_steps: int | None) -> None:
    others = cycle(color for color in MARKERS if color != BLUE)  # the query set's, per norm mode
    last = max(len(curve.mean) for curve in curves.values()) - 1
    for name, (mean, half_width, _) in curves.items():
        color, dashes = (BLUE, "--") if name.startswith("support_") else (next(others), "-")
        label = f"{for_figure(metric_name(name))}: {float(mean[0]):.3g} to {float(mean[-1]):.3g}"
        steps = range(len(mean))
        axis.plot(
            steps,
            mean,
            dashes,
            color=color,
            marker=MARKERS[color],
            markersize=4,
            markevery=-(-(last + 1) // MARKED),
            label=label,
        )
        axis.fill_between(
            steps, mean - half_width, mean + half_width, color=color, alpha=0.2, linewidth=0
        )
    if trained_steps is not None and 0 < trained_steps < last:
        axis.axvline(trained_steps, color="0.4", linestyle=":", label="as trained")
    axis.set_xlabel("inner step")
    axis.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axis.grid(alpha=0.3)
    put_legend_below(axis, columns=1)


def _means(curves: Mapping[str, Estimate]) -> set[tuple[float, ...]]:
    return {tuple(curve.mean.tolist()) for curve in curves.values()}


def _quantity(name: str) -> str:
    return name.partition("@")[0].removeprefix("support_").removeprefix("query_")
