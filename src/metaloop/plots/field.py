"""Draw an image as a network represents it, before and after adaptation."""

from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from metaloop.episode import Episode, the_tensor
from metaloop.plots.names import step_name
from metaloop.plots.title import set_caption, set_title
from metaloop.tasks.fields.pixels import find_pixels, to_image
from metaloop.tasks.metric import psnr


def draw_field(task: Episode, predictions: Mapping[int, Tensor], title: str = "") -> Figure:
    """Draw the predicted image and its PSNR after several inner steps, then the true image.

    The support pixels come first, on blue, unless every pixel is one.

    Shapes:
        task            one task: query inputs are the pixel grid of a square image
        predictions[k]  [pixels, channels] of phi_k
    """
    truth = task.query.targets
    panels = [
        (
            f"{step_name(step).removesuffix(' adaptation')}\n{float(psnr(values, truth)):.1f} dB",
            to_image(values),
        )
        for step, values in predictions.items()
    ]
    shots = len(task.support.targets)
    if shots < len(truth):
        panels.insert(0, (f"{shots} support\npixels", _support_image(task)))
    panels.append(("the image", to_image(truth)))
    figure = Figure(figsize=(1.6 * len(panels), 2.7), layout="constrained")
    for axis, (name, image) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        _show(axis, image, name)
    set_title(figure, title)
    set_caption(figure, "dB: PSNR of a prediction, higher is better")
    return figure


def _support_image(task: Episode) -> Tensor:
    """Make an image of the support pixels, on blue."""
    values = torch.tensor([0.2, 0.3, 0.6]).repeat(len(task.query.targets), 1)
    values[find_pixels(the_tensor(task.support.inputs), len(values))] = task.support.targets
    return to_image(values)


def _show(axis: Axes, image: Tensor, title: str) -> None:
    axis.set_axis_off()
    axis.set_title(title, fontsize=9)
    pixels = image.permute(1, 2, 0).clamp(0, 1).numpy()
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=1)
