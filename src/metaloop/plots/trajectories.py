"""Draw the walks of a policy, before and after adaptation."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from metaloop.plots.names import step_name
from metaloop.plots.palette import BLUE, ORANGE, VERMILION
from metaloop.plots.title import set_title


def draw_trajectories(
    goal: Tensor, positions: Mapping[int, Tensor], returns: Mapping[int, float], title: str = ""
) -> Figure:
    """Draw every rollout from the origin, with the policy before and after its inner steps.

    Shapes:
        goal        [2]
        positions[k]  [rollouts, horizon, 2] positions after each action of the policy phi_k
        returns[k]    mean return of phi_k
    """
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    axis = figure.subplots()
    for step, walked in positions.items():
        label = f"{step_name(step)}, mean return {returns[step]:.3g}"
        color, dashes, end = (VERMILION, "--", "s") if step == 0 else (BLUE, "-", "o")
        for number, rollout in enumerate(walked):
            x, y = ([0.0, *values] for values in rollout.T.tolist())
            axis.plot(
                x,
                y,
                dashes,
                color=color,
                alpha=0.6,
                linewidth=1,
                marker=end,
                markersize=4,
                markevery=[len(x) - 1],
                label=label if not number else "",
            )
    axis.plot(0, 0, "k+", markersize=10, markeredgewidth=2, label="start")
    axis.plot(
        *goal.tolist(), "*", color=ORANGE, markeredgecolor="black", markersize=14, label="goal"
    )
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel("x")
    axis.set_ylabel("y")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    set_title(figure, title)
    return figure
