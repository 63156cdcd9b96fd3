"""Legends that hide nothing."""

from matplotlib.axes import Axes


def put_legend_below(axis: Axes, columns: int = 2) -> None:
    """Put the legend of an axis under its x label."""
    axis.legend(
        frameon=False,
        fontsize=8,
        ncols=columns,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=4.5,  # of the font's size: below the ticks and the label
    )
