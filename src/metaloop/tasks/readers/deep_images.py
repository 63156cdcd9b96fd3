"""Reduce images with more than 8 bits per channel to 8, given the value of white.

Pillow reads grey ones in full, but only the upper byte of 16-bit colours. Its raw modes define
the order of a sample's two bytes, so reading the file in both orders gives both bytes.
"""

import io
import re
import sys
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

WHITE_IS_ZERO = 0  # TIFF's photometric interpretation
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
FULL = 65535
Samples = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class DeepImage(NamedTuple):
    """The samples of an upright image, [height, width, channels], with the file's values.

    Attributes:
        samples: grey, RGB or CMYK.
        white: the value of white by the file's format; None if the format does not define it.
        alpha: 0..1, [height, width, 1]; None if nothing is transparent.
        is_premultiplied: whether the samples are already multiplied by alpha.

    """

    samples: Samples
    white: float | None
    alpha: Samples | None = None
    is_premultiplied: bool = False

    def flatten(self, background: tuple[int, int, int], white: float) -> Image.Image:
        """Convert to 8 bits, with transparent pixels composited on the background colour."""
        colours = self.samples / np.float32(white)
        if colours.shape[2] == 4:
            return _to_bytes(colours, "CMYK").convert("RGB")
        if self.alpha is None:
            return _to_bytes(colours, "L" if colours.shape[2] == 1 else "RGB")
        shown = colours if self.is_premultiplied else colours * self.alpha
        backdrop: Samples = np.array(background, np.float32) / np.float32(255)
        return _to_bytes(shown + backdrop * (1 - self.alpha), "RGB")


def raw_mode(image: Image.Image) -> str:
    """Return Pillow's name of a file's pixel layout; "" once the image is decoded."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else ""
    if isinstance(arguments, tuple):
        arguments = arguments[0] if arguments else ""
    return arguments if isinstance(arguments, str) else ""


def read_deep(image: Image.Image, data: bytes) -> DeepImage | None:
    """Read the full depth of an image with more than 8 bits per channel; None for others.

    Args:
        image: opened by Pillow, not decoded yet.
        data: content of its file.

    """
    raw = raw_mode(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _read_grey(image, raw)
    if re.search(r";16[BLN]$", raw):
        return _read_colours(image, data, raw)
    return None


def _read_grey(image: Image.Image, raw: str) -> DeepImage:
    is_negative = getattr(image, "tag_v2", {}).get(262) == WHITE_IS_ZERO
    samples = np.asarray(ImageOps.exif_transpose(image))[:, :, None]
    white: float | None = None
    if image.mode.startswith("I;16") or (image.mode, image.format) in (("I", "PNG"), ("I", "PPM")):
        white = 4095 if raw == "I;12" else FULL  # Pillow scales a PGM file's samples to this
    alpha = _alpha_of(samples, image.info.get("transparency"))
    if is_negative and white is not None:
        samples = white - samples.astype(np.float32)
    return DeepImage(samples.astype(np.float32), white, alpha)


def _read_colours(image: Image.Image, data: bytes, raw: str) -> DeepImage:
    kind, _, order = raw.partition(";16")
    if kind == "LA":  # no raw mode gives its lower bytes: read four bytes per pixel
        pairs = _decode(data, "RGBA").astype(np.uint16)
        samples = pairs[:, :, ::2] * 256 + pairs[:, :, 1::2]
    else:
        straight = kind.replace("a", "A")  # Pillow would divide by the upper byte of alpha
        upper = _decode(data, f"{straight};16{order}").astype(np.uint16)
        samples = upper * 256 + _decode(data, f"{straight};16{OTHER_ORDER[order]}")
    if kind in ("LA", "RGBA", "RGBa"):
        colours, alpha = samples[:, :, :-1].astype(np.float32), samples[:, :, -1:]
        return DeepImage(colours, FULL, (alpha / FULL).astype(np.float32), kind == "RGBa")
    alpha_of_key = _alpha_of(samples, image.info.get("transparency"))
    return DeepImage(samples.astype(np.float32), FULL, alpha_of_key)


def _decode(data: bytes, raw: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Decode an upright image in 8 bits per channel, as if its file had this raw mode."""
    with Image.open(io.BytesIO(data)) as image:
        image.tile = [
            tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
            for tile in image.tile
        ]
        return np.asarray(ImageOps.exif_transpose(image))


def _alpha_of(
    samples: np.ndarray[tuple[int, ...], np.dtype[np.generic]], transparent: object
) -> Samples | None:
    """Return 0 where a pixel has the file's transparent colour, else 1; None if it has none."""
    if transparent is None:
        return None
    is_opaque: Samples = np.any(samples != np.array(transparent), 2, keepdims=True)
    return is_opaque.astype(np.float32)


def _to_bytes(colours: Samples, mode: str) -> Image.Image:
    height, width = colours.shape[:2]
    pixels = np.rint(colours * 255).astype(np.uint8)
    return Image.frombytes(mode, (width, height), pixels.tobytes())
