"""Draw the validations of several learners over the meta-steps."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metaloop.plots.legend import put_legend_below
from metaloop.plots.palette import MARKERS
from metaloop.plots.title import set_title
from metaloop.user_text import for_figure

MOST_LEARNERS = len(MARKERS)  # more could not be told apart

Curve = Sequence[tuple[int, float]]


def draw_validation_curves(
    learners: Mapping[str, Sequence[Curve]], axis_title: str, title: str
) -> Figure | None:
    """Draw a line per run, with a colour and marker per learner.

    Args:
        learners: of each learner a curve per seed: meta-steps with values.
        axis_title: names the values.
        title: stands over the picture.

    Returns None for more learners than can be told apart.

    """
    if not 0 < len(learners) <= MOST_LEARNERS:
        return None
    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    axis = figure.subplots()
    for (name, curves), (color, marker) in zip(learners.items(), MARKERS.items(), strict=False):
        for number, curve in enumerate(curves):
            label = for_figure(name) if number == 0 else "_"
            steps, values = zip(*curve, strict=True)
            axis.plot(steps, values, color=color, marker=marker, ms=4, lw=1.2, label=label)
    axis.set_xlabel("meta-step")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylabel(for_figure(axis_title))
    axis.grid(alpha=0.3)
    put_legend_below(axis)
    set_title(figure, title)
    return figure
