"""Draw an episode of images with the answers before and after adaptation."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from metaloop.episode import Episode
from metaloop.user_text import for_figure

SHOWN = 5  # maximum images per class and set
ROWS = 20  # maximum classes
RIGHT, WRONG, GIVEN = "#1a9641", "#d7191c", "0.55"
LONGEST = 16  # maximum characters of a name over an image


def draw_image_episode(
    episode: Episode, before: Tensor, after: Tensor, names: Sequence[str] | None = None
) -> Figure:
    """Draw one row per class: its support images, then its query images with the answers.

    A frame is green if the adapted learner is right, with its probability above. If it is wrong,
    the frame is red and dashed, with its answer above. The answer before adaptation is below.

    Shapes:
        episode        one task: inputs [.., channels, height, width]
        before, after  [N*Q, N] probabilities of the query images under phi_0 and phi_K
    """
    ways = min(before.shape[1], ROWS)
    names = [f"class {c}" for c in range(before.shape[1])] if names is None else names
    support, query = (
        [(part.targets == c).nonzero()[:SHOWN, 0] for c in range(ways)]
        for part in (episode.support, episode.query)
    )
    shots, queries = (max(map(len, rows)) for rows in (support, query))
    widths = [*[1.0] * shots, 0.25, *[1.0] * queries]  # a gap between the two sets
    figure = Figure(figsize=(1.25 * (shots + queries) + 1.6, 1.45 * ways + 0.8))
    axes = figure.subplots(ways, len(widths), squeeze=False, width_ratios=widths)
    figure.set_layout_engine("constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for label in range(ways):
        for axis, i in zip(axes[label], support[label], strict=False):
            show_image(axis, episode.support.inputs[i], GIVEN)
        name = for_figure(names[label]).replace(" ", "\n", 1)
        axes[label][0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
        for axis, i in zip(axes[label][shots + 1 :], query[label], strict=False):
            was, now = int(before[i].argmax()), int(after[i].argmax())
            frame = RIGHT if now == label else WRONG
            show_image(axis, episode.query.inputs[i], frame)
            sure = f"{float(after[i].max()):.0%}"
            title = f"right, {sure}" if now == label else f"{shorten(names[now])}, {sure}"
            axis.set_title(title, fontsize=7, pad=2, color=frame, fontweight="bold")
            axis.set_xlabel(f"before: {shorten(names[was])}", fontsize=6, labelpad=2)
    figure.suptitle(_summary(episode.query.targets, before, after), fontsize=10)
    return figure


def show_image(axis: Axes, image: Tensor, frame: str) -> None:
    """Show an image in a frame; that of a wrong answer is dashed, for colour-blind readers."""
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set(color=frame, linewidth=3, linestyle="--" if frame == WRONG else "-")
    pixels = image.permute(1, 2, 0).clamp(0, 1).numpy()
    axis.imshow(pixels, cmap="gray" if len(image) == 1 else None)


def shorten(name: str) -> str:
    """Shorten a name to fit over an image, keeping its end, which often distinguishes names."""
    return for_figure(name if len(name) <= LONGEST else f"{name[: LONGEST - 9]}..{name[-7:]}")


def _summary(targets: Tensor, before: Tensor, after: Tensor) -> str:
    was, now = (int((said.argmax(1) == targets).sum()) for said in (before, after))
    return (
        f"left support, right query: {was} of {len(targets)} right before adaptation, {now} after"
    )
