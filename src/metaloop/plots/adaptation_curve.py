"""How loss and accuracy change from inner step to inner step."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from metaloop.metrics import Estimate


def draw_adaptation_curve(curves: Mapping[str, Estimate], title: str) -> Figure:
    """Draw each metric's mean at phi_0 .. phi_K with its 95 % band.

    What is one quantity shares a panel: of the support and the query set, under several norm
    modes (`accuracy`, `support_accuracy`, `accuracy@inductive`).
    """
    panels: dict[str, list[str]] = {}
    for name in curves:
        panels.setdefault(_quantity(name), []).append(name)
    figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained")
    for axis, names in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.values(), strict=True
    ):
        for name in names:
            mean, half_width = curves[name].mean, curves[name].half_width
            steps = range(len(mean))
            axis.plot(steps, mean, marker="o", markersize=3, label=name.replace("_", " "))
            axis.fill_between(steps, mean - half_width, mean + half_width, alpha=0.25)
        axis.set_xlabel("inner step")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def _quantity(name: str) -> str:
    return name.partition("@")[0].removeprefix("support_").removeprefix("query_")
