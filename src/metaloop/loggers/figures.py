"""Figures on their way out: into a folder, and to the loggers."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning.loggers import Logger, WandbLogger


def save_figures(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each figure as folder/<name>.png."""
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=120)


def log_figures(
    figures: Mapping[str, Figure], loggers: Sequence[Logger], step: int | None = None
) -> None:
    """Send each figure to W&B, where a run logs there, at this meta-step or the last logged."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            for name, figure in figures.items():
                logger.log_image(f"pictures/{name}", [_pixels(figure)], step)


def _pixels(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    return Image.open(buffer)
