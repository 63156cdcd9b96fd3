"""Calibration as a picture: how many answers are right of those of a confidence."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metaloop.plots.palette import BLUE, SKY
from metaloop.plots.title import set_title
from metaloop.training.calibration import Reliability


def draw_reliability(reliability: Reliability, title: str) -> Figure:
    """Draw the share of right answers by their confidence, and below how many answers there are.

    A calibrated learner's points lie on the diagonal; an overconfident one's below it.
    """
    figure = Figure(figsize=(5.0, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = len(reliability.examples)
    middles = [(number + 0.5) / bins for number in range(bins)]
    share = reliability.right / reliability.examples  # nan where there is none: not drawn
    above.plot([0, 1], [0, 1], "--", color="0.5", label="calibrated: as many right as confident")
    above.bar(middles, share.tolist(), width=0.9 / bins, color=SKY, alpha=0.4)
    above.plot(
        reliability.confidence.tolist(),
        share.tolist(),
        "o",
        color=BLUE,
        markersize=5,
        label="right, at the mean confidence of a bar",
    )
    above.set_ylabel("share of answers that are right")
    above.set_ylim(0, 1.03)
    below.bar(middles, reliability.examples.tolist(), width=0.9 / bins, color="0.6")
    below.set_xlabel("confidence: probability of the class answered")
    below.set_ylabel("answers")
    below.set_xlim(0, 1)
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    figure.legend(loc="outside lower center", frameon=False, fontsize=8)
    error, half_width, _ = reliability.error
    said = f"expected calibration error {float(error):.1%} +/- {float(half_width):.1%}"
    set_title(figure, title, said)
    return figure
