"""What does not fit a run is refused in a sentence; what is a user's own gets all there is."""

import re
from typing import ClassVar

import pytest
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping

from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.run.config.build import build
from metaloop.run.config.misfits import build_and_try, require_known_monitors
from metaloop.run.config.read import load_config
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.write import write_config
from metaloop.run.train import train
from metaloop.tasks import ClassificationTask, RandomStreams
from tests.conftest import composed
from tests.loggers.test_figures import Lightnings


class Recorder(Lightnings):
    """A user's own logger."""

    made: ClassVar[list["Recorder"]] = []

    def __init__(self):
        super().__init__()
        self.values = {}
        Recorder.made.append(self)

    def log_metrics(self, metrics, step=None):
        self.values.update(dict.fromkeys(metrics, step))


class Unnamed(ClassificationTask):
    """Images of classes that have no global ids."""

    input_shape = (1, 4, 4)
    output_size = 2

    def draw(self, split, streams: RandomStreams) -> Episode:
        images = streams.normal(8, 1, 4, 4).float()
        labels = torch.arange(8).expand(streams.episodes, -1) % 2
        images = images + labels[..., None, None, None]
        sets = [Examples(images[:, part], labels[:, part]) for part in (slice(4), slice(4, 8))]
        return Episode(*sets, torch.empty(streams.episodes, 0, dtype=torch.int64))


def monitoring(monitor: str, **more: Callback) -> dict[str, Callback]:
    return {"early_stopping": EarlyStopping(monitor=monitor), **more}


def test_what_no_validation_reports_cannot_be_monitored():
    pieces = build(RunConfig.of(composed("task=omniglot", "experiment=smoke")))
    for known in ("val/accuracy", "val/support_loss_before", "val/adaptation_gain"):
        require_known_monitors(monitoring(known), pieces)
    says = r"callbacks.early_stopping.monitor=val/acuracy is no value .*Did you mean val/accuracy"
    with pytest.raises(UserError, match=says):
        require_known_monitors(monitoring("val/acuracy"), pieces)
    require_known_monitors(monitoring("val/mine", own=type("Own", (Callback,), {})()), pieces)


def test_two_progress_bars_are_refused_before_there_is_a_folder():
    second = "+callbacks.second._target_=pytorch_lightning.callbacks.RichProgressBar"
    with pytest.raises(UserError, match="multiple progress bar callbacks"):
        build_and_try(RunConfig.of(composed(second)))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pytorch_lightning.callbacks.RichProgressBar", "multiple progress bar callbacks"),
        ("pytorch_lightning.callbacks.LearningRateMonitor", "`Trainer` that has no logger"),
        ("metaloop.Progress", "multiple progress bar callbacks"),
    ],
)
def test_a_callback_that_lightning_does_not_take_is_refused_in_a_sentence(name, says, make_run):
    folder = make_run(f"+callbacks.second._target_={name}", "logger=none")
    with pytest.raises(UserError, match=rf"does not fit the run: .*{says}.*callbacks\.\w+=null"):
        train(folder)


def test_a_users_logger_gets_values_and_pictures_and_a_picture_that_fails_ends_nothing(
    make_run, capsys
):
    folder = make_run("callbacks=default")
    config = load_config(folder)
    mine = {"_target_": f"{__name__}.Recorder"}
    task = {"_target_": f"{__name__}.Unnamed"}
    write_config(folder, {**config, "task": task, "logger": {"mine": mine}})
    train(folder)
    recorder = Recorder.made.pop()
    assert recorder.values["train/accuracy"] == recorder.values["val/accuracy"] == 10
    assert recorder.values["test/accuracy"] == 10
    pictures = {key for key, *_ in recorder.seen}
    assert {"pictures/adaptation_curve", "pictures/one_task", "pictures/test_one_task"} <= pictures
    assert (folder.evaluations / "test" / "one_task.png").is_file()
    assert not re.search("No picture|confusion", capsys.readouterr().out)
