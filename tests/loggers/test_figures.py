"""Figures reach whoever takes some; one that cannot be drawn ends nothing."""

import signal

import numpy as np
import pytest
from matplotlib.figure import Figure
from pytorch_lightning.loggers import Logger

from metaloop.loggers.figures import log_figures, save_figures
from metaloop.process.signals import Interrupted


def drawn() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    return figure


def unfit() -> Figure:
    raise IndexError("list index out of range\nand more")


def unprintable() -> Figure:
    figure = drawn()
    figure.suptitle(r"$\frac$")
    return figure


def test_a_failed_figure_is_skipped_with_one_line(tmp_path, capsys):
    drawings = {"good": drawn, "bad": unfit, "title": unprintable, "none": lambda: None}
    for _ in range(2):  # two validations
        assert list(save_figures(drawings, tmp_path)) == ["good"]
    bad, title, none = capsys.readouterr().out.splitlines()
    assert bad == f"No picture {tmp_path / 'bad.png'}: IndexError: list index out of range"
    assert title.startswith(f"No picture {tmp_path / 'title.png'}: ValueError")
    assert none == f"No picture {tmp_path / 'none.png'}: this kind of task has none."
    assert [path.name for path in tmp_path.iterdir()] == ["good.png"]


@pytest.mark.parametrize("error", [Interrupted(signal.SIGINT, "there"), OSError(28, "full")])
def test_stop_signals_and_full_disks_are_not_taken_for_failed_figures(error, tmp_path):
    def interrupted():
        raise error

    with pytest.raises(type(error)):
        save_figures({"picture": interrupted}, tmp_path)


class Plain(Logger):
    """Takes values alone."""

    name = version = "own"

    def log_metrics(self, metrics, step=None): ...

    def log_hyperparams(self, params, *args): ...


class Lightnings(Plain):
    """Takes images as Lightning's logger for W&B does."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def log_image(self, key, images, step=None):
        self.seen.append((key, np.asarray(images[0]).shape, step))


class TensorBoards(Plain):
    """Takes images as TensorBoard's writer does."""

    def __init__(self):
        super().__init__()
        self.seen = []

    @property
    def experiment(self):
        return self

    def add_image(self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"):
        assert dataformats == "HWC"
        self.seen.append((tag, img_tensor.shape, global_step))


class Narrow(Plain):
    """Takes images in a way of its own."""

    def log_image(self, image):
        raise AssertionError("never reached")


def test_loggers_of_others_get_the_pictures_that_they_can_take(tmp_path, capsys):
    takers = Lightnings(), TensorBoards()
    log_figures(save_figures({"curve": drawn}, tmp_path), [Plain(), Narrow(), *takers], 7)
    assert [taker.seen for taker in takers] == [[("pictures/curve", (120, 240, 4), 7)]] * 2
    assert "No picture of curve in Narrow: TypeError" in capsys.readouterr().out
