"""Any depth and any transparency become the same 8 bits, or are refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from metaloop.errors import UserError
from metaloop.tasks.readers.image_files import ImageFile, ImageFiles, read_colour

# what PNG calls the colours of a pixel
GREY, RGB, GREY_ALPHA, RGB_ALPHA = 0, 2, 4, 6
V = 257  # 16-bit white is 65535 = 257 * 255: V * v are the 16 bits of v
INK = np.array([[0, 51], [102, 255]], np.uint8)  # 0, 1/5, 2/5, 1
BLACK = np.zeros_like(INK)


def png(samples, colours: int, depth=16, transparent=None) -> bytes:
    """A PNG file of samples [height, width, channels] of 16 bits, or of rows of bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    rows = samples.astype(">u2") if depth == 16 else samples
    header = struct.pack(">IIBBBBB", 2, 2, depth, colours, 0, 0, 0)
    key = (
        b""
        if transparent is None
        else chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    )
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + key + pixels + chunk(b"IEND", b"")


def tiff(samples, photometric: int, order="<", extra=None, sample_format=1) -> bytes:
    """A TIFF file of samples [height, width, channels] of whatever type they are."""
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    count, bits = samples.shape[2], 8 * samples.dtype.itemsize
    tags = {256: [2], 257: [2], 258: [bits] * count, 259: [1], 262: [photometric], 273: [8]}
    tags |= {277: [count], 278: [2], 279: [len(data)], 339: [sample_format] * count}
    tags |= {} if extra is None else {338: [extra]}
    start, entries, more = 8 + len(data), b"", b""
    for tag, values in sorted(tags.items()):
        field = struct.pack(f"{order}{len(values)}H", *values)
        if len(field) > 4:
            place = start + 2 + 12 * len(tags) + 4 + len(more)
            field, more = struct.pack(f"{order}I", place), more + field
        entries += struct.pack(f"{order}HHI", tag, 3, len(values)) + field.ljust(4, b"\0")
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", start)
    counted = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    return head + data + counted + more


def saved(image: Image.Image, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def stacked(*channels) -> Image.Image:
    return Image.fromarray(np.dstack(channels))


@pytest.fixture
def read(tmp_path):
    """The pixels of a file's content, [channels, 2, 2]."""

    def read_content(content: bytes, channels: int, **options) -> np.ndarray:
        (tmp_path / "scan").write_bytes(content)
        files = ImageFiles(2, channels, **options)
        return files.read(ImageFile(None, str(tmp_path / "scan")))

    return read_content


def drawn_in_alpha(kind: str) -> bytes:
    """Black ink, whose strength is INK, on a transparent ground; of two strengths in a palette."""
    if kind == "LA":
        return saved(Image.merge("LA", [Image.fromarray(BLACK), Image.fromarray(INK)]))
    if kind == "RGBA":
        return saved(stacked(BLACK, BLACK, BLACK, INK))
    if kind == "webp":
        return saved(stacked(BLACK, BLACK, BLACK, INK), "WEBP", lossless=True)
    if kind == "tiff":
        return saved(stacked(BLACK, BLACK, BLACK, INK), "TIFF")
    if kind == "palette":
        image = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), "P")
        image.putpalette([0] * 12)
        return saved(image, transparency=INK.tobytes())
    if kind == "16-bit LA":
        return png(V * np.dstack([BLACK, INK]).astype(int), GREY_ALPHA)
    return png(V * np.dstack([BLACK, BLACK, BLACK, INK]).astype(int), RGB_ALPHA)


@pytest.mark.parametrize(
    "kind", ["LA", "RGBA", "webp", "tiff", "palette", "16-bit LA", "16-bit RGBA"]
)
def test_transparent_drawings_are_visible_on_the_background(kind, read):
    content = drawn_in_alpha(kind)
    assert read(content, 1)[0].tolist() == (255 - INK).tolist()
    on_red = read(content, 3, background=(255, 0, 0))
    assert on_red[0].tolist() == (255 - INK).tolist()
    assert not on_red[1:].any()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (saved(Image.fromarray(INK), transparency=51), [0, 255, 102, 255]),
        (saved(stacked(INK, INK, INK), transparency=(51,) * 3), [0, 255, 102, 255]),
        (saved(Image.fromarray(INK), "GIF", transparency=0), [255, 51, 102, 255]),
        # 4 bits: 1 | 5, 9 | 15 are a fifteenth of white each: 17, 85, 153, 255
        (
            png([np.array([0x15], np.uint8), np.array([0x9F], np.uint8)], GREY, 4, [5]),
            [17, 255, 153, 255],
        ),
        (png([np.array([0x80], np.uint8), np.array([0x40], np.uint8)], GREY, 1, [0]), [255] * 4),
        # only this very value of 16 bits is transparent: its neighbour of the same 8 bits is not
        (png(np.array([[[5000], [5001]], [[0], [65535]]]), GREY, 16, [5000]), [255, 19, 0, 255]),
        (
            png(np.array([[[5000] * 3, [5001] * 3], [[0] * 3, [65535] * 3]]), RGB, 16, [5000] * 3),
            [255, 19, 0, 255],
        ),
    ],
    ids=["grey", "rgb", "gif", "4 bits", "1 bit", "16 bits", "16-bit rgb"],
)
def test_a_colour_that_a_file_calls_transparent_is_the_background(content, expected, read):
    assert read(content, 1).ravel().tolist() == expected


DEEP = V * INK.astype(int)[:, :, None] + np.array([[[0], [128]], [[-128], [0]]])  # nearest: INK


@pytest.mark.parametrize(
    "content",
    [
        png(DEEP, GREY),
        png(np.repeat(DEEP, 3, 2), RGB),
        tiff(DEEP.astype("u2"), 1),
        tiff(DEEP.astype("u2"), 1, ">"),
        tiff((65535 - DEEP).astype("u2"), 0),  # white is zero
        tiff(np.repeat(DEEP, 3, 2).astype("u2"), 2),
        tiff(np.repeat(DEEP, 3, 2).astype("u2"), 2, ">"),
        saved(Image.fromarray(DEEP[:, :, 0].astype("u2")), "TIFF", compression="tiff_lzw"),
        b"P5 2 2 65535\n" + DEEP.astype(">u2").tobytes(),
    ],
    ids=["png", "png rgb", "tiff", "tiff >", "tiff 0", "tiff rgb", "tiff rgb >", "lzw", "pgm"],
)
def test_16_bits_are_rounded_to_8(content, read):
    assert read(content, 1)[0].tolist() == INK.tolist()


def test_premultiplied_alpha_of_16_bits_is_not_multiplied_again(read):
    alpha = V * INK.astype(int)
    half = np.dstack([alpha // 2] * 3 + [alpha]).astype("u2")  # half grey, as much as alpha lets
    expected = np.rint(255 - INK / 2)
    assert np.abs(read(tiff(half, 2, extra=1), 3) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["i4", "f4", "i2"])
def test_values_without_a_known_white_need_task_white_level(kind, read):
    values = (INK[:, :, None] / (255 if kind == "f4" else 1)).astype(kind)
    content = tiff(values, 1, sample_format=3 if kind == "f4" else 2)
    with pytest.raises(UserError, match=r"scan has a format that does not .*task\.white_level"):
        read(content, 1)
    assert read(content, 1, white_level=float(values.max()))[0].tolist() == INK.tolist()
    with pytest.raises(UserError, match=r"scan has values from 0 to .* must be in 0\.\.0\.5"):
        read(content, 1, white_level=0.5)


def test_12_bits_in_16_are_scaled_by_the_given_white_level(read):
    twelve = (INK.astype(int) * 4095 // 255)[:, :, None]
    assert read(png(twelve, GREY), 1).max() == 16  # 4095 of 65535
    assert read(png(twelve, GREY), 1, white_level=4095)[0].tolist() == INK.tolist()


def test_the_background_does_not_change_opaque_images(read):
    for content in (saved(stacked(INK, BLACK, INK)), saved(Image.fromarray(INK).convert("1"))):
        assert np.array_equal(read(content, 3), read(content, 3, background=(1, 2, 3)))
    cmyk = saved(
        Image.merge("CMYK", [Image.fromarray(c) for c in (INK, BLACK, BLACK, BLACK)]), "TIFF"
    )
    assert read(cmyk, 3)[0].tolist() == (255 - INK).tolist()


def test_a_colour_is_a_name_hexadecimal_or_a_grey():
    assert read_colour("white", "k") == read_colour(255, "k") == read_colour("#ffffff", "k")
    for wrong in ("whit", "#ffffff80", 256, -1):
        with pytest.raises(UserError, match=f"k={wrong} is not a colour"):
            read_colour(wrong, "k")
