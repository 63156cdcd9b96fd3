"""Draw the validations of several learners over the meta-steps."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from metaloop.plots.palette import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from metaloop.plots.title import set_title
from metaloop.user_text import for_figure

STYLES = {  # colour and marker
    BLUE: "o",
    VERMILION: "s",
    GREEN: "D",
    PURPLE: "^",
    ORANGE: "v",
    SKY: "P",
    BLACK: "X",
}
MOST_LEARNERS = len(STYLES)  # more could not be told apart

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
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axis = figure.subplots()
    for (name, curves), (color, marker) in zip(learners.items(), STYLES.items(), strict=False):
        for number, curve in enumerate(curves):
            label = for_figure(name) if number == 0 else "_"
            steps, values = zip(*curve, strict=True)
            axis.plot(steps, values, color=color, marker=marker, ms=4, lw=1.2, label=label)
    axis.set_xlabel("meta-step")
    axis.set_ylabel(for_figure(axis_title))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    set_title(figure, title)
    return figure
