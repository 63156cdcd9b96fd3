"""Draw the confusion of classes: a matrix for few classes, the worst pairs for many."""

from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metaloop.training.confusion import Confusion, rows_of
from metaloop.user_text import for_figure

IN_MATRIX = 30  # maximum number of classes in the matrix
WORST = 15  # number of pairs, and of classes, if there are more

ClassName = Callable[[int], str]


def draw_confusion(confusion: Confusion, class_name: ClassName, title: str) -> Figure:
    """Draw the share of episodes with both classes in which one was taken for the other.

    Up to 30 classes are drawn as a matrix with each class's accuracy on its diagonal. For more,
    the most confused pairs and the hardest classes are drawn.
    """
    names = [for_figure(class_name(int(c))) for c in confusion.classes]
    if len(names) <= IN_MATRIX:
        figure = Figure(figsize=(2.6 + 0.3 * len(names), 2.2 + 0.3 * len(names)))
        _draw_matrix(figure, figure.subplots(), confusion, names)
    else:
        figure = Figure(figsize=(12.5, 1.4 + 0.28 * WORST))
        left, right = figure.subplots(1, 2)
        _draw_pairs(left, confusion, class_name)
        _draw_classes(right, confusion, names)
    figure.set_layout_engine("constrained")
    accuracy = float(confusion.right.sum() / confusion.seen.sum())
    figure.suptitle(f"{title}: {accuracy:.1%} correct of {int(confusion.seen.sum())}", fontsize=10)
    return figure


def _draw_matrix(figure: Figure, axis: Axes, confusion: Confusion, names: list[str]) -> None:
    share = torch.full((len(names), len(names)), torch.nan)
    share[confusion.pairs[:, 0], confusion.pairs[:, 1]] = confusion.mistaken / confusion.met
    share.fill_diagonal_(0)
    share += torch.diag(confusion.right / confusion.seen)
    image = axis.imshow(share.numpy(), vmin=0, vmax=1, cmap="viridis")
    if len(names) <= 12:
        for i, row in enumerate(share.tolist()):
            for j, value in enumerate(row):
                color = "black" if value > 0.6 else "white"
                label = "" if value != value else f"{value:.0%}"
                axis.text(j, i, label, ha="center", va="center", color=color, fontsize=7)
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.set_xlabel("predicted class (share of the times it was a choice)")
    axis.set_ylabel("true class")
    figure.colorbar(image, ax=axis, shrink=0.8)


def _draw_pairs(axis: Axes, confusion: Confusion, class_name: ClassName) -> None:
    rows = rows_of(confusion)[:WORST]
    labels = [
        for_figure(f"{class_name(true)} taken for {class_name(other)}")
        for true, other, _, _ in rows
    ]
    axis.barh(range(len(rows)), [met for *_, met in rows], color="0.85", label="was a choice")
    axis.barh(range(len(rows)), [times for *_, times, _ in rows], color="C3", label="was chosen")
    axis.set_yticks(range(len(rows)), labels, fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("query examples")
    axis.set_title("most often mistaken", fontsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=7, loc="lower right")


def _draw_classes(axis: Axes, confusion: Confusion, names: list[str]) -> None:
    wrong = confusion.seen - confusion.right
    # smoothed by one right and one wrong answer: a single mistake does not prove a class hard
    hardest = ((wrong + 1) / (confusion.seen + 2)).argsort(descending=True, stable=True)[:WORST]
    rows = range(len(hardest))
    axis.barh(rows, confusion.seen[hardest].tolist(), color="0.85", label="seen")
    axis.barh(rows, wrong[hardest].tolist(), color="C3", label="wrong")
    axis.set_yticks(rows, [names[c] for c in hardest.tolist()], fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("query examples")
    axis.set_title("hardest classes", fontsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=7, loc="lower right")
