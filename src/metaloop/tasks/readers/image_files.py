"""Decode image files, on disk or in a zip archive, to one shape."""

import io
import threading
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from metaloop.errors import UserError, nearest
from metaloop.tasks.readers.deep_images import DeepImage, raw_mode, read_deep

# TIFF may contain JPEG, and a JPEG several images; Pillow cuts some other formats to 8 bits
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
GREY_STEP = {"L;2": 85, "L;4": 17}  # step of PNG's 2-bit and 4-bit grey in 8 bits
MODES = {1: "L", 3: "RGB"}
WHITE = (255, 255, 255)
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Colour = tuple[int, int, int]
Resample = Literal["lanczos", "nearest"]


class OddImageError(UserError):
    """An image that cannot be used; the message says which file, and why."""


def reason(error: Exception) -> str:
    """Explain why an image cannot be read."""
    if isinstance(error, UnidentifiedImageError):  # its message contains a buffer's address
        return f"its content is none of {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # a folder, or a broken link
    return str(error)


def read_colour(colour: str | int, key: str) -> Colour:
    """Read a colour from its name ("white"), #rrggbb, or a grey value 0..255.

    Raises:
        UserError: if it is none of these.

    """
    # more digits or a sign do not give a valid colour
    text = "#" + 3 * f"{colour:02x}" if isinstance(colour, int) else colour
    try:
        found = ImageColor.getrgb(text)
        if len(found) == 4:
            raise ValueError(text)  # a colour with transparency
    except ValueError:
        raise UserError(
            f"{key}={colour} is not a colour. {nearest(str(colour), ImageColor.colormap)}Use an "
            "HTML colour name (white, black, gray), #rrggbb, or a grey value 0..255."
        ) from None
    return found


class ImageFile(NamedTuple):
    """An image: a name in an archive, or, without an archive, a path."""

    archive: Path | None
    name: str

    def __str__(self) -> str:
        return self.name if self.archive is None else f"{self.archive}: {self.name}"


class ImageDescription(TypedDict):
    """What ImageFiles does to a file; `steps` describes it in text."""

    kind: Literal["image"]
    channels: int
    colours: Literal["grey", "RGB"]
    height: int
    width: int
    resized_by: Resample
    is_inverted: bool
    background: str
    white: float | None
    steps: list[str]


class ImageFiles:
    """Reads image files; keeps archives open until `close`.

    Images are turned upright (EXIF), converted to 8 bits per channel, composited on `background`,
    converted to grey or RGB and resized, in this order.

    Args:
        size: images are resized to size x size, ignoring proportions; None keeps their size.
        channels: 1 converts all to grey, 3 to RGB.
        alike: reason to refuse images with another number of channels; "" converts them.
        is_inverted: black becomes white.
        background: colour behind transparent pixels.
        white_level: value of white in images of more than 8 bits; None: the format's, which is
            65535 for 16 bits and undefined for 32.
        resample: how images are resized.

    """

    def __init__(
        self,
        size: int | None,
        channels: int,
        *,
        alike: str = "",
        is_inverted: bool = False,
        background: Colour = WHITE,
        white_level: float | None = None,
        resample: Resample = "lanczos",
    ) -> None:
        self.size, self.channels = size, channels
        self.alike, self.is_inverted = alike, is_inverted
        self.background, self.white_level = background, white_level
        self.resample: Resample = resample
        self._archives: dict[Path, zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    @property
    def rules(self) -> tuple[object, ...]:
        """Everything except its file on which an image of this shape depends."""
        converts = self.alike == ""
        return converts, self.is_inverted, self.background, self.white_level, self.resample

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of every image."""
        return (self.channels, self._side, self._side)

    @property
    def _side(self) -> int:
        """Height and width of every image."""
        assert self.size is not None
        return self.size

    def read(self, file: ImageFile) -> Pixels:
        """Decode one image to [channels, size, size].

        Raises:
            OddImageError: if it is not a readable image, has other channels, or values for which
                white is unknown.

        """
        try:
            data = self._bytes(file)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return self.fit(image, str(file), data)
        except (OddImageError, MemoryError):
            raise
        except Exception as error:  # a damaged image may raise anything
            raise OddImageError(f"{file} is not a readable image ({reason(error)}).") from error

    def fit(self, image: Image.Image, name: str, data: bytes = b"") -> Pixels:
        """Convert an image to [channels, size, size]; `data` is the content of its file, if any.

        Raises:
            OddImageError: see `read`; `name` names the image in messages.

        """
        if self.alike and is_grey(image) != (self.channels == 1):
            found, wanted = ("grey", "coloured") if self.channels == 3 else ("coloured", "grey")
            raise OddImageError(f"{name} is {found}, not {wanted}: {self.alike}")
        deep = read_deep(image, data)
        if deep is not None:
            opaque = deep.flatten(self.background, self._white_of(deep, name))
        else:
            opaque = flatten(image, self.background)
        # before resizing: Pillow would resize one-bit images by nearest neighbour
        pixels = resize(opaque.convert(MODES[self.channels]), self.size, self.resample)
        return 255 - pixels if self.is_inverted else pixels

    def describe(self) -> ImageDescription:
        """Describe how a file becomes pixels, for other programs."""
        colours: Literal["grey", "RGB"] = "grey" if self.channels == 1 else "RGB"
        inverted = ["Invert it: 255 - value."] if self.is_inverted else []
        background = "#{:02x}{:02x}{:02x}".format(*self.background)
        white = "65535 of 16 bits" if self.white_level is None else f"{self.white_level:g}"
        return {
            "kind": "image",
            "channels": self.channels,
            "colours": colours,
            "height": self._side,
            "width": self._side,
            "resized_by": self.resample,
            "is_inverted": self.is_inverted,
            "background": background,
            "white": self.white_level,
            "steps": [
                "Open the image and turn it upright by its EXIF orientation.",
                f"Convert more than 8 bits per channel to 8: 255 * value / {white}.",
                f"Composite transparent pixels on {background}.",
                f"Convert it to {colours} (Pillow's mode {MODES[self.channels]}).",
                f"Resize it to {self._side} x {self._side} with Pillow's {self.resample.upper()}, "
                "ignoring its proportions.",
                *inverted,
            ],
        }

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

    def _white_of(self, deep: DeepImage, name: str) -> float:
        """Return an image's value of white; refuse values outside 0..white."""
        white = self.white_level or deep.white
        if white is None:
            raise OddImageError(
                f"{name} has a format that does not define white. Set task.white_level "
                "(task=image_folder), or convert it to 16 bits."
            )
        low, high = float(deep.samples.min()), float(deep.samples.max())
        if not (low >= 0 and high <= white):
            raise OddImageError(
                f"{name} has values from {low:g} to {high:g}, but they must be in 0..{white:g}. "
                "Set task.white_level to the largest possible value, or convert the image."
            )
        return white


def flatten(image: Image.Image, background: Colour) -> Image.Image:
    """Turn an 8-bit image upright, and composite its transparent pixels on a colour."""
    step = GREY_STEP.get(raw_mode(image), 1)
    upright = ImageOps.exif_transpose(image)
    if not upright.has_transparency_data:
        return upright
    if upright.mode == "L" and "transparency" in upright.info:
        upright.info["transparency"] *= step
    shown = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", shown.size, (*background, 255)), shown)


def is_grey(image: Image.Image) -> bool:
    """Check by its header whether an image that was just opened is grey."""
    return image.mode in GREY_MODES or raw_mode(image).startswith("LA;16")


def resize(image: Image.Image, size: int | None, resample: Resample = "lanczos") -> Pixels:
    """Convert an image to [channels, size, size], or keep its size."""
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling[resample.upper()])
    pixels: Pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def fit_to_shape(pixels: Pixels, shape: tuple[int, ...]) -> Pixels:
    """Convert a decoded image [height, width, 3] to `shape`: channels, height and width."""
    channels, size, _ = shape
    if (channels, size, size) == (pixels.shape[2], *pixels.shape[:2]):
        return pixels.transpose(2, 0, 1)
    return resize(Image.fromarray(pixels).convert(MODES[channels]), size)


def count_channels(file: ImageFile) -> Literal[1, 3]:
    """Count an image's channels by its header.

    Raises:
        OddImageError: if it is not a readable image.

    """
    try:
        with Image.open(file.name, formats=FORMATS) as image:
            return 1 if is_grey(image) else 3
    except Exception as error:
        raise OddImageError(f"{file} is not a readable image ({reason(error)}).") from error
