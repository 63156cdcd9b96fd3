"""Convert the input of a data set's item: to an image of bytes, or to an array of numbers."""

from typing import Literal

import numpy as np
from PIL import Image
from torch import Tensor

from metaloop.errors import UserError
from metaloop.tasks.readers.arrays import Array

Values = Literal["bytes", "numbers"]
CHANNELS = (1, 2, 3, 4)  # grey, grey with alpha, RGB, RGB with alpha
ROUNDING = 1e-3  # floats within this fraction of a byte count as the byte


def to_image(value: object) -> Image.Image | None:
    """Convert an input to an image of bytes; None if it is not an image.

    Images are Pillow images; bytes (uint8) [height, width], optionally with channels, first in
    tensors and last in numpy arrays, as in torchvision; and floats with channels that equal
    bytes / 255, as torchvision's ToTensor returns them.
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
    """Convert an input to numbers: floats keep their dtype, integers become float32.

    Raises:
        UserError: if it is not an array of finite numbers.

    """
    try:
        array: Array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "buif" or isinstance(value, Image.Image) or not array.size:
        raise UserError(
            f"The input of {name} is a {type(value).__name__}, neither an image nor an array of "
            "numbers. An item of the data set must be (input, label), with an image or a numpy or "
            "torch array as input: use a transform that returns one."
        )
    array = array.reshape(-1) if array.ndim == 0 else array
    array = array if array.dtype.kind == "f" else array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{name} contains NaN or infinity. Leave out or repair such items.")
    return array


def _as_bytes(array: Array) -> Array:
    """Convert floats that equal bytes / 255 to those bytes; return others unchanged."""
    if array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):
        return array
    scaled = 255 * array.astype(np.float64)
    rounded = np.rint(scaled)
    return rounded.astype(np.uint8) if np.abs(scaled - rounded).max() < ROUNDING else array


def _is_grey(array: Array) -> bool:
    return array.ndim == 3 and array.shape[2] == 1
