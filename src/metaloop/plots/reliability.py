"""Calibration as a picture: how many answers are right of those of a confidence."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metaloop.training.calibration import Reliability
from metaloop.user_text import for_figure


def draw_reliability(reliability: Reliability, title: str) -> Figure:
    """Draw the share of right answers by their confidence, and below how many answers there are.

    A calibrated learner's points lie on the diagonal; an overconfident one's below it.
    """
    figure = Figure(figsize=(4.6, 5.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = len(reliability.examples)
    middles = [(number + 0.5) / bins for number in range(bins)]
    share = reliability.right / reliability.examples  # nan where there is none: not drawn
    above.plot([0, 1], [0, 1], "--", color="0.6", label="calibrated")
    above.bar(middles, share.tolist(), width=0.9 / bins, color="C2", alpha=0.4)
    above.plot(
        reliability.confidence.tolist(),
        share.tolist(),
        "o",
        color="C2",
        markersize=4,
        label="right",
    )
    above.set_ylabel("share that is right")
    above.set_ylim(0, 1)
    above.legend(frameon=False, fontsize=8, loc="upper left")
    below.bar(middles, reliability.examples.tolist(), width=0.9 / bins, color="0.7")
    below.set_xlabel("confidence: probability of the class answered")
    below.set_ylabel("answers")
    below.set_xlim(0, 1)
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    error, half_width, _ = reliability.error
    said = f"expected calibration error {float(error):.1%} +/- {float(half_width):.1%}"
    figure.suptitle(for_figure(f"{title}\n{said}"), fontsize=10)
    return figure
