"""Image files, on disk or in a zip archive, decoded to one shape."""

import io
import threading
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from metaloop.errors import UserError, nearest
from metaloop.tasks.readers.deep_images import DeepImage, raw_mode, read_deep

# TIFF may hold JPEG, and a JPEG several; of what else Pillow knows some is cut to 8 bits silently
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
GREY_STEP = {"L;2": 85, "L;4": 17}  # of PNG's grey of 2 and 4 bits, in 8
MODES = {1: "L", 3: "RGB"}
WHITE = (255, 255, 255)
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Colour = tuple[int, int, int]
Resample = Literal["lanczos", "nearest"]


class OddImageError(UserError):
    """An image that cannot be used; the message names the file and what is wrong with it."""


def reason(error: Exception) -> str:
    """Why an image cannot be read, in words."""
    if isinstance(error, UnidentifiedImageError):  # whose own words name a buffer's address
        return f"its content is none of {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # a folder, a link that leads nowhere
    return str(error)


def read_colour(colour: str | int, key: str) -> Colour:
    """A colour by its name ("white"), by #rrggbb, or as a grey value 0..255.

    Raises:
        UserError: it is none of these.

    """
    # a grey value of more digits, or with a sign, makes no colour
    text = "#" + 3 * f"{colour:02x}" if isinstance(colour, int) else colour
    try:
        found = ImageColor.getrgb(text)
        if len(found) == 4:
            raise ValueError(text)  # itself transparent
    except ValueError:
        raise UserError(
            f"{key}={colour} is no colour. {nearest(str(colour), ImageColor.colormap)}It is a "
            "colour's name as HTML has it (white, black, gray), #rrggbb, or a grey value 0..255."
        ) from None
    return found


class ImageFile(NamedTuple):
    """Where one image lies: in an archive under this name, or, without archive, at this path."""

    archive: Path | None
    name: str

    def __str__(self) -> str:
        return self.name if self.archive is None else f"{self.archive}: {self.name}"


class ImageDescription(TypedDict):
    """What ImageFiles does to a file; `steps` says it in words."""

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
    """Reads image files; keeps the archives open until `close`.

    Images are turned upright as their camera says (EXIF), brought to 8 bits a channel, composited
    on `background`, made grey or RGB and resized, in this order.

    Args:
        size: images are resized to size x size, whatever their proportions; None leaves their
            size.
        channels: 1 makes all grey, 3 makes all RGB.
        alike: why images of another number of channels are refused; "" converts them.
        is_inverted: black becomes white.
        background: the colour behind what is transparent.
        white_level: in images of more than 8 bits the value that is white; None: as the format
            says, which is 65535 for 16 bits and nothing for 32.
        resample: how they are resized.

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
        """All that an image of this shape depends on but its file."""
        converts = self.alike == ""
        return converts, self.is_inverted, self.background, self.white_level, self.resample

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of every image."""
        return (self.channels, self._side, self._side)

    @property
    def _side(self) -> int:
        """The height and width that all images are given."""
        assert self.size is not None
        return self.size

    def read(self, file: ImageFile) -> Pixels:
        """Decode one image to [channels, size, size].

        Raises:
            OddImageError: it is no readable image, has other channels, or values whose white is
                not known.

        """
        try:
            data = self._bytes(file)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return self.fit(image, str(file), data)
        except (OddImageError, MemoryError):
            raise
        except Exception as error:  # a damaged image fails in whatever way its bytes happen to
            raise OddImageError(f"{file} is no readable image ({reason(error)}).") from error

    def fit(self, image: Image.Image, name: str, data: bytes = b"") -> Pixels:
        """Bring an image to [channels, size, size]; `data` is what it was opened from, if anything.

        Raises:
            OddImageError: see `read`; `name` is what it calls the image.

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
        pixels = resized(opaque.convert(MODES[self.channels]), self.size, self.resample)
        return 255 - pixels if self.is_inverted else pixels

    def describe(self) -> ImageDescription:
        """Say how a file becomes pixels, to a program that has to do it itself."""
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
                "Open the image and turn it upright, as its EXIF orientation says.",
                f"Bring more than 8 bits a channel to 8: 255 * value / {white}.",
                f"Composite what is transparent on {background}.",
                f"Convert it to {colours} (Pillow's mode {MODES[self.channels]}).",
                f"Resize it to {self._side} x {self._side} by Pillow's {self.resample.upper()}, "
                "whatever its proportions.",
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
        """Which of an image's values is white; none of them may lie beyond it."""
        white = self.white_level or deep.white
        if white is None:
            raise OddImageError(
                f"{name} has a format that does not say which of its values is white. "
                "Say it by task.white_level (task=image_folder), or convert it to 16 bits."
            )
        low, high = float(deep.samples.min()), float(deep.samples.max())
        if not (low >= 0 and high <= white):
            raise OddImageError(
                f"{name} has values from {low:g} to {high:g}, and should lie in 0..{white:g}. Set "
                "task.white_level to the largest value that there may be, or convert it."
            )
        return white


def flatten(image: Image.Image, background: Colour) -> Image.Image:
    """An image of 8 bits, upright, what is transparent in it composited on a colour."""
    step = GREY_STEP.get(raw_mode(image), 1)
    upright = ImageOps.exif_transpose(image)
    if not upright.has_transparency_data:
        return upright
    if upright.mode == "L" and "transparency" in upright.info:
        upright.info["transparency"] *= step
    shown = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", shown.size, (*background, 255)), shown)


def is_grey(image: Image.Image) -> bool:
    """Whether an image just opened is grey by its header."""
    return image.mode in GREY_MODES or raw_mode(image).startswith("LA;16")


def resized(image: Image.Image, size: int | None, resample: Resample = "lanczos") -> Pixels:
    """An image as [channels, size, size], or of the size that it has."""
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling[resample.upper()])
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
        with Image.open(file.name, formats=FORMATS) as image:
            return 1 if is_grey(image) else 3
    except Exception as error:
        raise OddImageError(f"{file} is no readable image ({reason(error)}).") from error
