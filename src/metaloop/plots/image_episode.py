"""An episode of images: what the learner saw, what it says before and after adaptation."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from metaloop.episode import Episode

SHOWN = 5  # images of a class at most, of each set


def draw_image_episode(episode: Episode, before: Tensor, after: Tensor) -> Figure:
    """Draw one row a class: its support images, then its query images with the answers.

    A frame is green where the adapted learner is right; the title reads label before -> after
    with the probability after.

    Shapes:
        episode        one task: inputs [.., channels, height, width]
        before, after  [N*Q, N] probabilities of the query images under phi_0 and phi_K
    """
    ways = before.shape[1]
    support, query = (
        [(part.targets == c).nonzero()[:SHOWN, 0] for c in range(ways)]
        for part in (episode.support, episode.query)
    )
    shots, queries = (max(map(len, rows)) for rows in (support, query))
    figure = Figure(figsize=(1.2 * (shots + queries) + 0.4, 1.3 * ways + 0.5), layout="constrained")
    axes = figure.subplots(ways, shots + queries, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for label in range(ways):
        for axis, i in zip(axes[label], support[label], strict=False):
            _show(axis, episode.support.inputs[i], f"class {label}", "0.6")
        for axis, i in zip(axes[label][shots:], query[label], strict=False):
            is_right = int(after[i].argmax()) == label
            answers = f"{int(before[i].argmax())} -> {int(after[i].argmax())}"
            title = f"{answers} ({float(after[i].max()):.0%})"
            _show(axis, episode.query.inputs[i], title, "C2" if is_right else "C3")
    figure.suptitle("support | query, answer before -> after", fontsize=8)
    return figure


def _show(axis: Axes, image: Tensor, title: str, frame: str) -> None:
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set(color=frame, linewidth=2)
    axis.set_title(title, fontsize=7, pad=2)
    pixels = image.permute(1, 2, 0).clamp(0, 1).numpy()
    axis.imshow(pixels, cmap="gray" if len(image) == 1 else None)
