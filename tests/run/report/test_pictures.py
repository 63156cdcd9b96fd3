"""Pictures are part of the page, as wide as they were saved; a damaged one costs only itself."""

import base64
import re

import matplotlib.pyplot as plt
from PIL import Image

from metaloop.run.report.pictures import DPI, SCREEN_DPI, embed_all, embed_figure


def test_the_pictures_of_a_folder_are_embedded_with_captions(tmp_path):
    for name in ("fit", "my_own", "left_out"):
        Image.new("RGB", (3 * DPI, 10)).save(tmp_path / f"{name}.png")
    fit, own = embed_all(tmp_path, "the test", leave_out=["left_out"])
    assert "The fit before and after adaptation (the test)" in fit
    assert "my own (the test)" in own
    content = re.search(r"data:image/png;base64,([^\"]+)", fit).group(1)
    assert base64.b64decode(content) == (tmp_path / "fit.png").read_bytes()
    assert f"width:{3 * SCREEN_DPI}px" in fit


def test_a_damaged_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "b.png").mkdir()
    damaged, folder = embed_all(tmp_path, "x")
    assert "No picture a.png: it is no whole PNG file" in damaged
    assert "No picture b.png: " in folder


def test_a_figure_is_the_same_bytes_each_time():
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    first, again = (embed_figure(figure, "a line") for _ in range(2))
    plt.close(figure)
    assert first == again
    assert "data:image/svg+xml;base64," in first
