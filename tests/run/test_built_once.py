"""A run constructs its model once in each of its processes: a pretrained encoder is read once."""

import signal
from pathlib import Path

import pytest
from torch import nn

from metaloop.process.signals import STOP_SIGNALS
from tests.conftest import SMALL, run_command

SHORT = (f"model._target_={__name__}.Counted", "training.max_steps=2", "evaluation.episodes=2")
RECORD = Path("constructed")


class Counted(nn.Linear):
    """A user's model, which says when it is constructed."""

    def __init__(self, input_size: int, output_size: int, **unused: object):
        super().__init__(input_size, output_size)
        with RECORD.open("a") as file:
            file.write("once ")


def constructions() -> int:
    """How often the model has been constructed since this was asked last."""
    times = len(RECORD.read_text().split())
    RECORD.unlink()
    return times


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_command_hands_what_it_has_built_to_the_work_in_its_process(said, tmp_path):
    (tmp_path / "points.csv").write_text("x,y\n0,1\n1,2\n")
    trains = ("train", *SMALL, *SHORT, "device.tasks_at_once=auto")
    for command, *arguments in (
        trains,
        ("evaluate", "RUN", "task.shots=2"),
        ("adapt", "RUN", "support=points.csv"),
        ("resume", "RUN", "training.max_steps=3"),
    ):
        runs = [str(path) for path in tmp_path.glob("outputs/*")]
        with pytest.raises(SystemExit) as end:
            said(command, *(runs[0] if a == "RUN" else a for a in arguments))
        assert end.value.code == 0
        assert constructions() == 1, command


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "times"),
    [
        (["device=ddp", "device.accelerator=cpu"], 1 + 2),
        (["-m", "seed=1,2"], 2 * (1 + 1)),
    ],
)
def test_other_processes_construct_it_once_more_each(arguments, times, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=":")
    result = run_command("metaloop-train", *SMALL, *SHORT, *arguments)
    assert result.returncode == 0, result.stderr
    assert constructions() == times
