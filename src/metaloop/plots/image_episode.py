"""Draw an episode of images with the answers before and after adaptation."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from metaloop.episode import Episode
from metaloop.plots.palette import BLUE, VERMILION
from metaloop.plots.title import set_caption, set_title
from metaloop.user_text import for_figure

SHOWN = 5  # maximum images per class and set
ROWS = 20  # maximum classes
RIGHT, WRONG, GIVEN = BLUE, VERMILION, "0.55"
LONGEST = 16  # maximum characters of a name over an image
IN_MARGIN = 24  # characters of a line beside the images, about
READ = """\
left: support images; right: query images, the answer with its probability above, the answer \
before adaptation below
"""
FRAMES = "solid blue frame: right; dashed red frame: wrong"


def draw_image_episode(
    episode: Episode,
    before: Tensor,
    after: Tensor,
    names: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw one row per class: its support images, then its query images with the answers.

    A frame is blue if the adapted learner is right. If it is wrong, the frame is red and dashed.
    The answer with its probability is above, that before adaptation below. Names that are too long
    to be over an image are beside the rows, which then have numbers.

    Shapes:
        episode        one task: inputs [.., channels, height, width]
        before, after  [N*Q, N] probabilities of the query images under phi_0 and phi_K
    """
    ways = min(before.shape[1], ROWS)
    short, long = _name_classes(names, before.shape[1])
    support, query = (
        [(part.targets == c).nonzero()[:SHOWN, 0] for c in range(ways)]
        for part in (episode.support, episode.query)
    )
    shots, queries = (max(map(len, indices)) for indices in (support, query))
    widths = [*[1.0] * shots, 0.25, *[1.0] * queries]  # a gap between the two sets
    figure = Figure(figsize=(1.25 * (shots + queries) + 1.9, 1.5 * ways + 1.2))
    axes = figure.subplots(ways, len(widths), squeeze=False, width_ratios=widths)
    figure.set_layout_engine("constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for label in range(ways):
        for axis, i in zip(axes[label], support[label], strict=False):
            show_image(axis, episode.support.inputs[i], GIVEN)
        axes[label][0].set_ylabel(
            for_figure(long[label]), rotation=0, ha="right", va="center", fontsize=8
        )
        for axis, i in zip(axes[label][shots + 1 :], query[label], strict=False):
            was, now = short[int(before[i].argmax())], int(after[i].argmax())
            frame = RIGHT if now == label else WRONG
            show_image(axis, episode.query.inputs[i], frame)
            sure = f"{float(after[i].max()):.0%}"
            answer = for_figure(f"{short[now]}, {sure}")
            axis.set_title(answer, fontsize=7, pad=3, color=frame, fontweight="bold")
            axis.set_xlabel(for_figure(f"before: {was}"), fontsize=7, labelpad=3)
    set_title(figure, title, _summary(episode.query.targets, before, after))
    set_caption(figure, READ, FRAMES)
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
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 9]}..{name[-7:]}"


def _name_classes(names: Sequence[str] | None, classes: int) -> tuple[Sequence[str], Sequence[str]]:
    """Name each class over an image, and beside its row."""
    rows = [f"class {number}" for number in range(1, classes + 1)]
    if names is None:
        return rows, rows
    if max(map(len, names)) <= LONGEST:
        return names, names
    wrapped = (textwrap.wrap(name, IN_MARGIN, break_long_words=False) for name in names)
    return rows, ["\n".join([f"{row}:", *lines]) for row, lines in zip(rows, wrapped, strict=True)]


def _summary(targets: Tensor, before: Tensor, after: Tensor) -> str:
    was, now = (int((said.argmax(1) == targets).sum()) for said in (before, after))
    return f"{was} of {len(targets)} query images right before adaptation, {now} after"
