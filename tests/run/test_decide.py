"""What a config leaves to be measured is decided once, before meta-step 0, and kept."""

import re

import pytest
from omegaconf import OmegaConf

from tests.conftest import needs_compiler, run_command

SHORT = ("training.max_steps=2", "evaluation.episodes=600", "logger=csv", "callbacks=minimal")


def device(folder):
    return OmegaConf.load(folder / "config.yaml").device


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_number_of_tasks_at_once_is_measured_written_and_never_measured_again(
    tmp_path, processes
):
    places = [] if processes == 1 else ["device=ddp", "device.accelerator=cpu"]
    done = run_command(
        "metaloop-train",
        f"output_dir={tmp_path}",
        "data.meta_batch_size=4",
        *places,
        "device.tasks_at_once=auto",
        *SHORT,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    decided = device(folder).tasks_at_once
    share = 4 // processes
    assert decided in (1, 2, share)
    assert re.findall(r"Decided: device.tasks_at_once=(\d)", done.stdout) == [str(decided)]

    resumed = run_command("metaloop-resume", str(folder), "training.max_steps=4")
    assert resumed.returncode == 0, resumed.stderr
    assert "Measuring" not in resumed.stdout
    assert device(folder).tasks_at_once == decided


def test_the_number_of_chunks_at_once_is_measured_and_written(tmp_path):
    arguments = ("data.meta_batch_size=4",)
    arguments += ("device.tasks_at_once=1", "device.chunks_at_once=auto", "device.threads=2")
    done = run_command("metaloop-train", f"output_dir={tmp_path}", *arguments, *SHORT)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    assert "1 tasks at once, 2 chunks:" in done.stdout
    assert device(folder).chunks_at_once in (1, 2)
    assert f"device.chunks_at_once={device(folder).chunks_at_once} " in done.stdout
    assert device(folder).tasks_at_once == 1  # which was not left open


@needs_compiler
def test_whether_to_compile_is_measured_and_written(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("METALOOP_CACHE", str(cache))
    arguments = (f"output_dir={tmp_path}", "device.compile=auto", *SHORT)
    done = run_command("metaloop-train", *arguments)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    assert "by_size tasks at once, compiled:" in done.stdout
    assert device(folder).compile in (True, False)
    assert device(folder).tasks_at_once == "by_size"  # which was not left open
    assert any((cache / "compiled").iterdir())  # for the next run, and this one resumed
