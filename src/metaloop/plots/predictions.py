"""Draw an adapted learner's predictions for images, with the true labels if known."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from metaloop.plots.image_episode import GIVEN, RIGHT, WRONG, shorten, show_image

SHOWN, COLUMNS = 40, 8


def draw_predictions(
    images: Tensor, probabilities: Tensor, classes: Sequence[str], labels: Sequence[str] | None
) -> Figure:
    """Draw the first images with prediction and probability, framed by correctness.

    Shapes:
        images         [Q, channels, height, width]
        probabilities  [Q, N]
    """
    number = min(len(images), SHOWN)
    rows = -(-number // COLUMNS)
    figure = Figure(figsize=(1.4 * COLUMNS, 1.6 * rows + 0.5))
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    figure.set_layout_engine("constrained")
    for axis in axes:
        axis.set_axis_off()
    answers = [classes[int(row.argmax())] for row in probabilities]
    for i, axis in enumerate(axes[:number]):
        frame = GIVEN
        if labels is not None:
            frame = RIGHT if labels[i] == answers[i] else WRONG
        show_image(axis, images[i], frame)
        title = f"{shorten(answers[i])}, {float(probabilities[i].max()):.0%}"
        axis.set_title(title, fontsize=7, pad=2, color="black" if labels is None else frame)
        if frame == WRONG and labels is not None:
            axis.set_xlabel(f"is {shorten(labels[i])}", fontsize=7, labelpad=2)
    title = f"{number} of {len(images)} images"
    if labels is not None:
        right = sum(label == answer for label, answer in zip(labels, answers, strict=True))
        title += f"; {right} of {len(images)} right"
    figure.suptitle(title, fontsize=10)
    return figure
