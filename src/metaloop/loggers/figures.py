"""Save figures in a folder and send them to the loggers."""

import functools
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning.loggers import Logger

from metaloop.process.signals import Interrupted
from metaloop.user_text import say

Draw = Callable[[], Figure | None]  # None: this task has no such picture


def save_figures(drawings: Mapping[str, Draw], folder: Path) -> dict[str, Figure]:
    """Draw each figure and save it as folder/<name>.png; return the figures drawn."""
    folder.mkdir(exist_ok=True)
    figures = {}
    for name, draw in drawings.items():
        path = folder / f"{name}.png"
        with _skip_failure(f"picture {path}"):
            if (figure := draw()) is None:
                _say_once(f"No picture {path}: this kind of task has none.")
            else:
                figure.savefig(path, dpi=120)
                figures[name] = figure
    return figures


def log_figures(
    figures: Mapping[str, Figure], loggers: Sequence[Logger], step: int | None = None
) -> None:
    """Send each figure to the loggers that accept figures, at this or the last meta-step.

    Those are loggers with a method `log_image(key, images, step)`, such as Lightning's for W&B, and
    those whose `experiment` has TensorBoard's `add_image`.
    """
    for logger in loggers:
        log_image = getattr(logger, "log_image", None)
        add_image = getattr(getattr(logger, "experiment", None), "add_image", None)
        for name, figure in figures.items():
            key = f"pictures/{name}"
            with _skip_failure(f"picture of {name} in {type(logger).__name__}"):
                if callable(log_image):
                    log_image(key, [_pixels(figure)], step)
                elif callable(add_image):
                    add_image(key, np.asarray(_pixels(figure)), step, dataformats="HWC")


@contextmanager
def _skip_failure(what: str) -> Iterator[None]:
    """Continue without a picture that does not fit a task or logger; say why in one line."""
    try:
        yield
    except (Interrupted, OSError):
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        _say_once(f"No {what}: {type(error).__name__}{': ' * bool(reason)}{reason}")


@functools.cache  # not at every validation
def _say_once(line: str) -> None:
    say(line)


def _pixels(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    return Image.open(buffer)
