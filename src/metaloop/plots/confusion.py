"""Draw the confusion of classes: a matrix for few classes, the worst pairs for many."""

from collections.abc import Callable, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from metaloop.plots.legend import put_legend_below
from metaloop.plots.palette import VERMILION
from metaloop.plots.title import set_caption, set_title
from metaloop.training.confusion import Confusion, rows_of
from metaloop.user_text import for_figure

IN_MATRIX = 30  # maximum number of classes in the matrix
WITH_PERCENT = 12  # maximum number of classes whose cells also have room for a percentage
WORST = 15  # number of pairs, and of classes, if there are more

READ = """\
A row is one true class: its query examples are its 100 %.
\N{EN DASH}: the two classes were never choices in one episode."""

ClassName = Callable[[int], str]


def draw_confusion(confusion: Confusion, class_name: ClassName, title: str) -> Figure:
    """Draw how often the query examples of each class were taken for which class.

    Up to 30 classes are drawn as a matrix of counts, a row per true class. For more, the most
    confused pairs and the hardest classes are drawn.
    """
    names = [for_figure(class_name(int(c))) for c in confusion.classes]
    right, seen = int(confusion.right.sum()), int(confusion.seen.sum())
    said = f"{right} of {seen} query examples answered correctly: {right / seen:.1%}"
    if len(names) <= IN_MATRIX:
        cells = max(2.4, (0.5 if len(names) <= WITH_PERCENT else 0.38) * len(names))
        margin = 1.5 + 0.055 * max(map(len, names))  # inches of the classes' names
        figure = Figure(figsize=(cells + margin + 1.0, cells + margin), layout="constrained")
        _draw_matrix(figure, figure.subplots(), confusion, names)
    else:
        figure = Figure(figsize=(13.0, 2.0 + 0.36 * WORST), layout="constrained")
        left, right_axis = figure.subplots(1, 2)
        _draw_pairs(left, confusion, class_name)
        _draw_classes(right_axis, confusion, names)
    set_title(figure, title, said)
    return figure


def _draw_matrix(figure: Figure, axis: Axes, confusion: Confusion, names: list[str]) -> None:
    counts = torch.full((len(names), len(names)), -1)  # of classes that were never a choice
    counts[confusion.pairs[:, 0], confusion.pairs[:, 1]] = confusion.mistaken
    counts.diagonal()[:] = confusion.right
    share = counts.clamp(min=0) / confusion.seen[:, None]
    image = axis.imshow(share.numpy(), vmin=0, vmax=1, cmap="Blues")
    with_percent = len(names) <= WITH_PERCENT
    for i, row in enumerate(counts.tolist()):
        for j, count in enumerate(row):
            value = float(share[i, j])
            label = f"{count}\n{value:.0%}" if with_percent and count > 0 else f"{count}"
            axis.text(
                j,
                i,
                "\u2013" if count < 0 else label,
                ha="center",
                va="center",
                color="white" if value > 0.6 else "black",
                fontsize=7 if with_percent else 6,
            )
    rows = [f"{name} ({seen})" for name, seen in zip(names, confusion.seen.tolist(), strict=True)]
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axis.set_yticks(range(len(names)), rows, fontsize=7)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class (query examples)")
    set_caption(figure, READ)
    bar = figure.colorbar(image, ax=axis, fraction=0.04, pad=0.02, format=PercentFormatter(1))
    bar.set_label("share of the row")


def _draw_pairs(axis: Axes, confusion: Confusion, class_name: ClassName) -> None:
    rows = rows_of(confusion)[:WORST]
    labels = [
        for_figure(f"{class_name(true)}\ntaken for {class_name(other)}")
        for true, other, _, _ in rows
    ]
    times, met = [row[2] for row in rows], [row[3] for row in rows]
    _draw_shares(axis, labels, times, met, ("was chosen", "was a choice"))
    axis.set_title("pairs most often mistaken", fontsize=9)


def _draw_classes(axis: Axes, confusion: Confusion, names: list[str]) -> None:
    wrong = confusion.seen - confusion.right
    # smoothed by one right and one wrong answer: a single mistake does not prove a class hard
    hardest = ((wrong + 1) / (confusion.seen + 2)).argsort(descending=True, stable=True)[:WORST]
    labels = [names[c] for c in hardest.tolist()]
    seen: Tensor = confusion.seen[hardest]
    _draw_shares(axis, labels, wrong[hardest].tolist(), seen.tolist(), ("wrong", "all"))
    axis.set_title("hardest classes", fontsize=9)


def _draw_shares(
    axis: Axes,
    labels: Sequence[str],
    parts: Sequence[int],
    wholes: Sequence[int],
    legend: tuple[str, str],
) -> None:
    """Draw a bar per label, a part of a whole, with both numbers."""
    rows = range(len(labels))
    axis.barh(rows, wholes, color="0.85", label=legend[1])
    axis.barh(rows, parts, color=VERMILION, label=legend[0])
    for row, part, whole in zip(rows, parts, wholes, strict=True):
        axis.annotate(
            f"{part} of {whole}",
            (whole, row),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    axis.set_yticks(rows, labels, fontsize=7)
    axis.margins(x=0.25)
    axis.invert_yaxis()
    axis.set_xlabel("query examples")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    put_legend_below(axis)
