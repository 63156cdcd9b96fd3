"""The input of a data set's item: an image of bytes, or numbers as they are."""

from typing import Literal

import numpy as np
from PIL import Image
from torch import Tensor

from metaloop.errors import UserError
from metaloop.tasks.readers.arrays import Array

Values = Literal["bytes", "numbers"]
CHANNELS = (1, 2, 3, 4)  # grey, grey and transparent, RGB, RGB and transparent
ROUNDING = 1e-3  # of a byte: floats this near to one are one


def to_image(value: object) -> Image.Image | None:
    """An input as an image of bytes; None where it is none, but numbers.

    Images are Pillow's; bytes (uint8) [height, width] or with channels, which tensors have first
    and numpy arrays last, as in torchvision; and floats with channels that are bytes / 255, as
    torchvision's ToTensor makes them.
    """
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, Tensor):
        array: Array = value.detach().cpu().numpy()
    elif isinstance(value, np.ndarray):
        array = value
    else:
        return None
    if array.ndim == 3 and array.size:
        has_channels_first = isinstance(value, Tensor) or array.shape[2] not in CHANNELS
        array = array.transpose(1, 2, 0) if has_channels_first else array
        if array.shape[2] not in CHANNELS:
            return None
        array = _as_bytes(array)
    elif array.ndim != 2:
        return None
    if array.dtype != np.uint8:
        return None
    return Image.fromarray(np.ascontiguousarray(array.squeeze(2) if _is_grey(array) else array))


def to_numbers(value: object, name: str) -> Array:
    """An input as numbers: floats keep their type, whole numbers become float32.

    Raises:
        UserError: it holds something else, or what is not finite.

    """
    try:
        array: Array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "buif" or isinstance(value, Image.Image) or not array.size:
        raise UserError(
            f"The input of {name} is a {type(value).__name__}, no image and no array of numbers. "
            "An item of the data set is (input, label), the input an image or numbers in numpy or "
            "torch: give it a transform that makes these."
        )
    array = array.reshape(-1) if array.ndim == 0 else array
    array = array if array.dtype.kind == "f" else array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{name} holds NaN or infinity. Leave such items out, or fill them in.")
    return array


def _as_bytes(array: Array) -> Array:
    """Floats that are bytes / 255 as these bytes; others as they are."""
    if array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):
        return array
    scaled = 255 * array.astype(np.float64)
    rounded = np.rint(scaled)
    return rounded.astype(np.uint8) if np.abs(scaled - rounded).max() < ROUNDING else array


def _is_grey(array: Array) -> bool:
    return array.ndim == 3 and array.shape[2] == 1
