"""Image files, on disk or in a zip archive, decoded to one shape."""

import io
import threading
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from metaloop.errors import UserError

GREY_MODES = ("1", "L", "LA", "La")
COLOUR_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
MODES = {1: "L", 3: "RGB"}
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


class OddImageError(UserError):
    """An image that cannot be used; the message names the file and what is wrong with it."""


def reason(error: Exception) -> str:
    """Why an image cannot be read, in words."""
    if isinstance(error, UnidentifiedImageError):  # whose own words name a buffer's address
        return "its content is of no image format that Pillow knows"
    return str(error)


class ImageFile(NamedTuple):
    """Where one image lies: in an archive under this name, or, without archive, at this path."""

    archive: Path | None
    name: str

    def __str__(self) -> str:
        return self.name if self.archive is None else f"{self.archive}: {self.name}"


class ImageFiles:
    """Reads image files; keeps the archives open until `close`.

    Args:
        size: images are resized to size x size (Lanczos), whatever their proportions; None leaves
            their size.
        channels: 1 makes all grey, 3 makes all RGB.
        alike: why images of another number of channels are refused; "" converts them.
        is_inverted: black becomes white.

    """

    def __init__(
        self, size: int | None, channels: int, *, alike: str = "", is_inverted: bool = False
    ) -> None:
        self.size, self.channels = size, channels
        self.alike, self.is_inverted = alike, is_inverted
        self._archives: dict[Path, zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    def read(self, file: ImageFile) -> Pixels:
        """Decode one image to [channels, size, size].

        Raises:
            OddImageError: it is no readable image of 8 bits, or has other channels.

        """
        try:
            with Image.open(io.BytesIO(self._bytes(file))) as image:
                return self.fit(image, str(file))
        except OddImageError:
            raise
        except Exception as error:  # a damaged image fails in whatever way its bytes happen to
            raise OddImageError(f"{file} is no readable image ({reason(error)}).") from error

    def fit(self, image: Image.Image, name: str) -> Pixels:
        """Bring an image to [channels, size, size]; `name` is what messages call it.

        Raises:
            OddImageError: it has more than 8 bits, or other channels.

        """
        self._check_mode(name, image.mode)
        upright = ImageOps.exif_transpose(image)
        # before resizing: Pillow would resize one-bit images by nearest neighbour
        pixels = resized(upright.convert(MODES[self.channels]), self.size)
        return 255 - pixels if self.is_inverted else pixels

    def close(self) -> None:
        for archive in self._archives.values():
            archive.close()

    def _bytes(self, file: ImageFile) -> bytes:
        if file.archive is None:
            return Path(file.name).read_bytes()
        with self._lock:
            if file.archive not in self._archives:
                self._archives[file.archive] = zipfile.ZipFile(file.archive)
        return self._archives[file.archive].read(file.name)

    def _check_mode(self, name: str, mode: str) -> None:
        if mode not in GREY_MODES + COLOUR_MODES:
            raise OddImageError(
                f"{name} has more than 8 bits a channel (Pillow's mode {mode}). Convert it."
            )
        if self.alike and (mode in GREY_MODES) != (self.channels == 1):
            found, wanted = ("grey", "coloured") if self.channels == 3 else ("coloured", "grey")
            raise OddImageError(f"{name} is {found}, not {wanted}: {self.alike}")


def resized(image: Image.Image, size: int | None) -> Pixels:
    """An image as [channels, size, size], or of the size that it has."""
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    pixels: Pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def fit_to_shape(pixels: Pixels, shape: tuple[int, ...]) -> Pixels:
    """A decoded image [height, width, 3] as `shape`: channels, height and width."""
    channels, size, _ = shape
    if (channels, size, size) == (pixels.shape[2], *pixels.shape[:2]):
        return pixels.transpose(2, 0, 1)
    return resized(Image.fromarray(pixels).convert(MODES[channels]), size)


def count_channels(file: ImageFile) -> Literal[1, 3]:
    """How many channels an image has by its header.

    Raises:
        OddImageError: it is no readable image.

    """
    try:
        with Image.open(file.name) as image:
            return 1 if image.mode in GREY_MODES else 3
    except Exception as error:
        raise OddImageError(f"{file} is no readable image ({reason(error)}).") from error
