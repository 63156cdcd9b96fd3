"""Draw the walks of a policy, before and after adaptation."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from metaloop.plots.step_name import step_name


def draw_trajectories(
    goal: Tensor, positions: Mapping[int, Tensor], returns: Mapping[int, float]
) -> Figure:
    """Draw every rollout from the origin, with the policy before and after its inner steps.

    Shapes:
        goal        [2]
        positions[k]  [rollouts, horizon, 2] positions after each action of the policy phi_k
        returns[k]    mean return of phi_k
    """
    figure = Figure(figsize=(4.6, 4.8), layout="constrained")
    axis = figure.subplots()
    for step, walked in positions.items():
        label = step_name(step)
        label += f", return {returns[step]:.3g}"
        color, dashes = ("C3", "--") if step == 0 else ("C0", "-")
        for number, rollout in enumerate(walked):
            x, y = ([0.0, *values] for values in rollout.T.tolist())
            axis.plot(
                x, y, dashes, color=color, alpha=0.5, linewidth=1, label=label if not number else ""
            )
            axis.plot(x[-1], y[-1], "o", color=color, markersize=3)
    axis.plot(0, 0, "k+", markersize=9, label="start")
    axis.plot(*goal.tolist(), "*", color="C1", markersize=13, label="goal")
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel("x")
    axis.set_ylabel("y")
    axis.legend(frameon=False, fontsize=8)
    return figure
