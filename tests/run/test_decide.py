"""What a config leaves to be measured is decided once, before meta-step 0, and kept."""

import re

import pytest
import torch

from metaloop.run.config.read import load_config
from metaloop.run.train import train
from tests.conftest import needs_compiler
from tests.run.stopped_runs import finish

SHORT = ("training.max_steps=2", "evaluation.episodes=2", "data.validation_episodes=2")


@pytest.fixture
def decided(make_run, capfd):
    """Train a run of four tasks a meta-step; what was decided, and what was said."""

    def run(*overrides):
        folder = make_run(*SHORT, *overrides)
        train(folder)
        return folder, load_config(folder)["device"], capfd.readouterr().out

    return run


def test_the_number_of_tasks_at_once_is_measured_written_and_never_measured_again(decided, capfd):
    folder, device, said = decided("device.tasks_at_once=auto")
    assert device["tasks_at_once"] in (1, 2, 4)
    assert re.findall(r"Decided: device.tasks_at_once=(\d)", said) == [str(device["tasks_at_once"])]

    train(folder)  # once more: it begins as a resumed run does
    assert "Measuring" not in capfd.readouterr().out
    assert load_config(folder)["device"] == device


@pytest.mark.slow
def test_the_first_of_two_processes_measures_its_share_for_both(make_run):
    folder = make_run(*SHORT, "device=ddp", "device.accelerator=cpu", "device.tasks_at_once=auto")
    (said,) = re.findall(r"Decided: device.tasks_at_once=(\d)", finish(folder))
    assert load_config(folder)["device"]["tasks_at_once"] == int(said)
    assert int(said) in (1, 2)


def test_the_number_of_chunks_at_once_is_measured_and_written(decided):
    torch.set_num_threads(2)
    _, device, said = decided("device.tasks_at_once=1", "device.chunks_at_once=auto")
    assert "1 tasks at once, 2 chunks:" in said
    assert device["chunks_at_once"] in (1, 2)
    assert f"device.chunks_at_once={device['chunks_at_once']} " in said
    assert device["tasks_at_once"] == 1  # which was not left open


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_whether_to_compile_is_measured_and_written(decided, monkeypatch, cache):
    monkeypatch.setenv("METALOOP_CACHE", str(cache))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    _, device, said = decided("device.compile=auto", "model.hidden=[4]")
    assert "by_size tasks at once, compiled:" in said
    assert device["compile"] in (True, False)
    assert device["tasks_at_once"] == "by_size"  # which was not left open
    assert any((cache / "compiled").iterdir())  # for the next run, and this one resumed
