"""The title of a figure."""

import textwrap

from matplotlib.figure import Figure

from metaloop.user_text import for_figure

PER_INCH = 12  # characters of a title, about


def set_title(figure: Figure, title: str) -> None:
    """Set a figure's title, in as many lines as its width needs."""
    width = int(PER_INCH * figure.get_figwidth())
    lines = textwrap.wrap(title, width, break_on_hyphens=False)
    figure.suptitle(for_figure("\n".join(lines)), fontsize=10)
