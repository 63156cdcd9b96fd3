"""The title of a figure, and the line below it that says how to read it."""

import textwrap

from matplotlib.figure import Figure

from metaloop.user_text import for_figure

PER_INCH = {10: 12, 8: 15}  # characters of a font's size, about


def set_title(figure: Figure, *lines: str) -> None:
    """Set a figure's title, each line in as many as the figure's width needs."""
    shown = _wrap(figure, lines, 10)
    if shown:
        figure.suptitle(shown, fontsize=10)


def set_caption(figure: Figure, *lines: str) -> None:
    """Say below a figure how to read it."""
    figure.supxlabel(_wrap(figure, lines, 8), fontsize=8)


def _wrap(figure: Figure, texts: tuple[str, ...], size: int) -> str:
    width = int(PER_INCH[size] * figure.get_figwidth())
    lines = [line for text in texts for line in text.splitlines()]
    parts = [part for line in lines for part in textwrap.wrap(line, width, break_on_hyphens=False)]
    return for_figure("\n".join(parts))
