"""Draw loss and accuracy over the inner steps."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metaloop.plots.title import set_title
from metaloop.training.estimate import Estimate
from metaloop.user_text import for_figure


def draw_adaptation_curve(
    curves: Mapping[str, Estimate], title: str, trained_steps: int | None = None
) -> Figure:
    """Draw each metric's mean at phi_0 .. phi_K with its 95 % band.

    Variants of one quantity share a panel: on support and query set, under several norm modes
    (`accuracy`, `support_accuracy`, `accuracy@inductive`). The support set's are dashed. A dotted
    line marks the number of inner steps in meta-training.
    """
    panels: dict[str, list[str]] = {}
    for name in curves:
        panels.setdefault(_quantity(name), []).append(name)
    columns, rows = min(2, len(panels)), -(-len(panels) // 2)
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    for number, (quantity, names) in enumerate(panels.items(), 1):
        axis = figure.add_subplot(rows, columns, number)
        others = (f"C{number}" for number in range(1, 10))  # for the query set, one per norm mode
        for name in names:
            is_support = name.startswith("support_")
            mean, half_width = curves[name].mean, curves[name].half_width
            steps = range(len(mean))
            color, dashes = ("C0", "--") if is_support else (next(others), "-")
            shown = for_figure(name).replace("_", " ")
            label = f"{shown}: {float(mean[0]):.3g} to {float(mean[-1]):.3g}"
            axis.plot(steps, mean, dashes, color=color, marker="o", markersize=3, label=label)
            axis.fill_between(
                steps, mean - half_width, mean + half_width, color=color, alpha=0.25, linewidth=0
            )
        if trained_steps is not None and 0 < trained_steps < len(steps) - 1:
            axis.axvline(trained_steps, color="0.5", linestyle=":", label="as trained")
        axis.set_xlabel("inner step")
        axis.set_ylabel(for_figure(quantity))
        axis.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    set_title(figure, title)
    return figure


def _quantity(name: str) -> str:
    return name.partition("@")[0].removeprefix("support_").removeprefix("query_")
