"""How loss and accuracy change from inner step to inner step."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from metaloop.metrics import Estimate


def draw_adaptation_curve(curves: Mapping[str, Estimate], title: str) -> Figure:
    """Draw each metric's mean at phi_0 .. phi_K with its 95 % band.

    `support_loss` and `query_loss` share one axis; every other metric has its own.
    """
    losses = [name for name in curves if name.endswith("loss")]
    panels: list[Sequence[str]] = [losses, *([name] for name in curves if name not in losses)]
    figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained")
    for axis, names in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
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
