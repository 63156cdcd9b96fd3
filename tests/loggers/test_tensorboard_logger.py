"""TensorBoard gets what the others get, each row once, and is asked for before a run begins."""

import sys

import pytest
from PIL import Image

from metaloop.folders.run_folder import RunFolder
from metaloop.loggers import ResumableTensorBoardLogger
from metaloop.loggers.metrics_csv import read_rows
from tests.run.stopped_runs import train_in_two_parts


@pytest.fixture
def events():
    """Read a run's event files as TensorBoard does."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(module, reason="the extra tensorboard is not installed")

    def read(run: RunFolder):
        found = accumulator.EventAccumulator(str(run.path / "tensorboard"), {"images": 0})
        return found.Reload()

    return read


def test_a_resumed_run_continues_in_the_same_folder_with_each_row_once(make_run, events):
    run = make_run(
        "logger=tensorboard",
        "training.max_steps=4",
        "training.log_every=1",
        "training.validate_every=2",
        "evaluation.episodes=2",
    )
    train_in_two_parts(run, stop_at=2)
    found = events(run)
    rows = read_rows(run.metrics)
    logged = [name for row in rows for name, value in row.items() if value and name != "step"]
    assert {"train/query_loss", "val/query_loss"} <= set(logged)
    for name in set(logged):
        expected = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
        drawn = [(event.step, event.value) for event in found.Scalars(name)]
        assert [step for step, _ in drawn] == [step for step, _ in expected], name
        assert [value for _, value in drawn] == pytest.approx([v for _, v in expected], rel=1e-6)
    assert [event.step for event in found.Images("pictures/learning_curve")] == [2, 4]
    assert found.Images("pictures/test_one_task")[-1].step == 4
    assert found.Scalars("test/query_loss")
    assert b"max_steps: 4" in found.Tensors("config/text_summary")[-1].tensor_proto.string_val[0]
    assert not list(run.path.rglob("hparams.yaml"))


def test_what_a_killed_run_logged_after_its_last_checkpoint_is_hidden(make_run, events):
    run = make_run()
    for first, last in ((1, 6), (4, 7)):  # killed at 6, resumed at 3
        logger = ResumableTensorBoardLogger(save_dir=str(run.path))
        logger.rewind(first - 1)
        for step in range(first, last + 1):
            logger.log_metrics({"train/loss": first + step / 10}, step)
        logger.log_image("pictures/x", [Image.new("RGB", (3, 2))])
    found = events(run)
    assert [(e.step, round(e.value, 3)) for e in found.Scalars("train/loss")] == [
        *((1, 1.1), (2, 1.2), (3, 1.3)),
        *((4, 4.4), (5, 4.5), (6, 4.6), (7, 4.7)),
    ]
    (picture,) = found.Images("pictures/x")
    assert (picture.step, picture.width, picture.height) == (7, 3, 2)


def test_a_missing_package_is_refused_before_there_is_a_folder(tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    told = said("train", "experiment=smoke", "device=cpu", "logger=tensorboard", status=1).err
    assert "logger=tensorboard needs the package tensorboard" in told
    assert "pip install 'metaloop[tensorboard]'" in told
    assert not list(tmp_path.iterdir())
