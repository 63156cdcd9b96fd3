"""Draw a regression task with one input and one output, before and after adaptation."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from metaloop.episode import Episode, the_tensor
from metaloop.plots.palette import BLUE, ORANGE, VERMILION
from metaloop.plots.step_name import step_name


def draw_fit(
    episode: Episode,
    grid: Tensor,
    predictions: Mapping[int, Tensor],
    losses: Mapping[int, float] | None = None,
) -> Figure:
    """Draw one task's points and the learner's curve after several inner steps.

    Shapes:
        episode            one task: inputs and targets [.., 1]
        grid               [G, 1]
        predictions[k]     [G, 1], predictions of phi_k on the grid
        losses[k]          query loss of phi_k
    """
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axis = figure.subplots()
    given, asked = the_tensor(episode.support.inputs), the_tensor(episode.query.inputs)
    order = asked[:, 0].argsort()
    axis.plot(
        asked[order, 0],
        episode.query.targets[order, 0],
        "o-",
        color="0.6",
        linewidth=0.8,
        markersize=3,
        label="the task, at the query points",
    )
    last = max(predictions)
    for step, curve in predictions.items():
        label = step_name(step)
        if losses is not None:
            label += f", query loss {losses[step]:.3g}"
        color, dashes = (VERMILION, "--") if step == 0 else (BLUE, "-")
        alpha = 1.0 if step in (0, last) else 0.35
        axis.plot(grid[:, 0], curve[:, 0], dashes, color=color, alpha=alpha, label=label)
    axis.plot(
        given[:, 0],
        episode.support.targets[:, 0],
        "^",
        color=ORANGE,
        markeredgecolor="black",
        markersize=8,
        label="support points",
    )
    axis.set_xlabel("x")
    axis.set_ylabel("y")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure
