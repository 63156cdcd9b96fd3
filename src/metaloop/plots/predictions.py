"""Draw an adapted learner's predictions for images, with the true labels if known."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from metaloop.plots.image_episode import FRAMES, GIVEN, RIGHT, WRONG, shorten, show_image
from metaloop.plots.title import set_caption, set_title
from metaloop.user_text import for_figure

SHOWN, COLUMNS = 40, 8
WIDEST = 24  # maximum characters of a path below an image


def draw_predictions(
    images: Tensor,
    probabilities: Tensor,
    classes: Sequence[str],
    labels: Sequence[str] | None,
    files: Sequence[str],
    title: str = "",
) -> Figure:
    """Draw the first images with file, prediction and probability, framed by correctness.

    Shapes:
        images         [Q, channels, height, width]
        probabilities  [Q, N]
    """
    number = min(len(images), SHOWN)
    columns = min(number, COLUMNS)
    rows = -(-number // columns)
    figure = Figure(figsize=(max(5.0, 1.5 * columns), 1.9 * rows + 0.9))
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    figure.set_layout_engine("constrained")
    for axis in axes:
        axis.set_axis_off()
    answers = [classes[int(row.argmax())] for row in probabilities]
    for i, axis in enumerate(axes[:number]):
        frame = GIVEN
        if labels is not None:
            frame = RIGHT if labels[i] == answers[i] else WRONG
        show_image(axis, images[i], frame)
        answer = for_figure(f"{shorten(answers[i])}, {float(probabilities[i].max()):.0%}")
        color = "black" if labels is None else frame
        axis.set_title(answer, fontsize=8, pad=3, color=color, fontweight="bold")
        below = [f"is {shorten(labels[i])}"] if labels is not None and frame == WRONG else []
        below.append(_shorten_path(files[i]))
        axis.set_xlabel(for_figure("\n".join(below)), fontsize=7, labelpad=3)
    said = f"{number} of {len(images)} images"
    if labels is not None:
        right = sum(label == answer for label, answer in zip(labels, answers, strict=True))
        said += f"; {right} of {len(images)} right"
        set_caption(figure, FRAMES)
    set_title(figure, title, said)
    return figure


def _shorten_path(path: str) -> str:
    """Keep the end of a file's path, as wide as its image."""
    return path if len(path) <= WIDEST else f"..{path[2 - WIDEST :]}"
