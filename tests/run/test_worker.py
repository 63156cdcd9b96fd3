"""What fails at once leaves nothing behind; what has begun is kept."""

import signal

import pytest
import pytorch_lightning as pl
from torch import nn

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.process.signals import STOP_SIGNALS
from metaloop.run.config.read import load_config
from metaloop.run.config.write import write_config, write_evaluation
from metaloop.run.worker import work


class Sequences(nn.Module):
    """A model whose forward answers with a tuple."""

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.head = nn.Linear(input_size, output_size)

    def forward(self, x):
        return self.head(x), None


class Mistaken(pl.Callback):
    """A mistake of the user's that shows after some steps."""

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 3:
            raise UserError("a mistake")


@pytest.fixture(autouse=True)
def _signals():
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def executed(folder: RunFolder) -> int:
    """Execute a folder that this process has made, as metaloop-train does."""
    return work([str(folder.path), "--made", str(folder.made)])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["algorithm=prototypical"], "Prototypes are means of classes"),
        (["task=mini_imagenet", "task.data_dir=/nowhere"], "There is no task.data_dir=/nowhere"),
    ],
)
def test_what_fails_before_its_first_step_leaves_no_folder(
    overrides, says, make_run, tmp_path, capsys
):
    assert executed(make_run(*overrides)) == 1
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_refused_model_leaves_no_folder(make_run, tmp_path, capsys):
    folder = make_run()
    model = {"_target_": "tests.run.test_worker.Sequences"}
    write_config(folder, {**load_config(folder), "model": model})
    assert executed(folder) == 1
    assert "tuple" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_has_begun_or_was_there_before_is_kept(make_run, capsys):
    fault = "+callbacks.fault._target_=tests.run.test_worker.Mistaken"
    begun = make_run(fault, "training.log_every=1")
    assert executed(begun) == 1
    assert begun.state() == "failed"
    composed = make_run("algorithm=prototypical")
    assert work([str(composed.path)]) == 1
    assert composed.state() == "failed"
    assert "a mistake" in capsys.readouterr().err


def test_an_evaluation_that_fails_leaves_its_run_as_it_was(make_run, capsys):
    run = make_run()
    folder = write_evaluation(run, "test", load_config(run), [])
    assert executed(folder) == 1
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert not run.evaluations.exists()
