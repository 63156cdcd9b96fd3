"""Save figures in a folder and send them to the loggers."""

import functools
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


def save_figures(drawings: Mapping[str, Draw], folder: Path) -> dict[str, Path]:
    """Draw each figure and save it as folder/<name>.png; return the files by name.

    A file's metadata contain the figure's title.
    """
    folder.mkdir(exist_ok=True)
    written = {}
    for name, draw in drawings.items():
        path = folder / f"{name}.png"
        with _skip_failure(f"picture {path}"):
            if (figure := draw()) is None:
                _say_once(f"No picture {path}: this kind of task has none.")
            else:
                figure.savefig(path, dpi=120, metadata={"Title": figure.get_suptitle()})
                written[name] = path
    return written


def log_figures(
    written: Mapping[str, Path], loggers: Sequence[Logger], step: int | None = None
) -> None:
    """Send the figures in these files to the loggers that accept figures.

    `step` is the meta-step; None takes the last one. These loggers have a method
    `log_image(key, images, step)`, such as Lightning's for W&B, or an `experiment` with
    TensorBoard's `add_image`.
    """
    for logger in loggers:
        log_image = getattr(logger, "log_image", None)
        add_image = getattr(getattr(logger, "experiment", None), "add_image", None)
        for name, path in written.items():
            key = f"pictures/{name}"
            with _skip_failure(f"picture of {name} in {type(logger).__name__}"):
                if callable(log_image):
                    log_image(key, [_pixels(path)], step)
                elif callable(add_image):
                    add_image(key, np.asarray(_pixels(path)), step, dataformats="HWC")


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


def _pixels(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image
