"""A change on resuming survives any kill: in its own writes, of one process and of two.

Long: run it by pytest -m slow tests/run/test_kills.py -s; METALOOP_KILLS makes it longer.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from metaloop.folders.changes import Accepted
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config
from metaloop.run.train import train
from tests.conftest import ROOT
from tests.forks import command, die_before, in_child
from tests.run.stopped_runs import (
    PROMPTLY,
    assert_same_run,
    running,
    wait_until_all_ended,
    write,
)

KILLS = int(os.environ.get("METALOOP_KILLS", "10"))
CHANGE = ("training.max_steps=240", "optimizer.lr=0.002", "--accept-changes")
DDP = ("device=ddp", "device.accelerator=cpu", "data.meta_batch_size=4")
ENDS = ("killed", "killed", "paused and killed", "stopped")
pytestmark = pytest.mark.slow


def begun(root: Path, *overrides: str) -> RunFolder:
    """A run of 120 meta-steps, which is to go on otherwise; validated every 40, saved every 30."""
    torch.set_num_threads(1)
    best = "+callbacks.best._target_=metaloop.BestCheckpoint"
    folder = write(root, "training.max_steps=120", "callbacks=minimal", best, *overrides)
    train(folder)
    return folder


def copy(folder: RunFolder, to: Path) -> RunFolder:
    return RunFolder(shutil.copytree(folder.path, to))


def assert_record_is_whole(folder: RunFolder, lr: float) -> None:
    """What the record says was accepted is what the run trains with."""
    config = load_config(folder)
    accepted = [Accepted(120, {"optimizer.lr": (lr, 0.002)})]
    is_changed = config["optimizer"]["lr"] == 0.002
    assert folder.read_accepted() == (accepted if is_changed else [])
    assert (config["training"]["max_steps"] == 240) == is_changed


def test_a_change_that_dies_before_any_of_its_files_is_whole_or_not_made(tmp_path):
    stopped = begun(tmp_path / "begun")
    lr = load_config(stopped)["optimizer"]["lr"]
    whole = copy(stopped, tmp_path / "whole")
    assert in_child(command("resume", str(whole.path), *CHANGE), tmp_path / "log") == 0
    for number in range(KILLS):
        parts = copy(stopped, tmp_path / f"parts{number}")
        resume = command("resume", str(parts.path), *CHANGE)

        def killed(number=number, resume=resume):
            die_before(number)
            resume()

        assert in_child(killed, tmp_path / "log") == -signal.SIGKILL
        assert_record_is_whole(parts, lr)
        assert in_child(resume, tmp_path / "log") == 0, (tmp_path / "log").read_text()
        assert_same_run(parts, whole)
        assert_record_is_whole(parts, lr)
        print(f"killed before file {number + 1}: the same", flush=True)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_change_that_is_killed_again_and_again_ends_as_the_one_that_was_not(processes, tmp_path):
    overrides = DDP if processes == 2 else ()
    stopped = write(tmp_path / "begun", "training.max_steps=120", *overrides)
    finish(stopped)
    lr = load_config(stopped)["optimizer"]["lr"]
    whole, parts = (copy(stopped, tmp_path / name) for name in ("whole", "parts"))
    finish(whole, *CHANGE)
    dice = random.Random(processes)
    for number in range(KILLS):
        worker = resume(parts, *CHANGE)
        delay = dice.uniform(0, 12 * processes)
        try:
            worker.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            stop(dice.choice(ENDS), dice.choice([*running(parts)] or [worker.pid]), worker.pid)
            worker.communicate(timeout=PROMPTLY)
        wait_until_all_ended(parts)
        assert_record_is_whole(parts, lr)
        print(f"{processes} processes, kill {number + 1} after {delay:.1f} s", flush=True)
    finish(parts, *CHANGE)
    assert_same_run(parts, whole)


def stop(end: str, victim: int, command: int) -> None:
    """End a run by one of its processes, a rank or the agent, or as its user would."""
    if end == "paused and killed":
        os.kill(victim, signal.SIGSTOP)
        time.sleep(0.5)  # the others go on, or wait for it
        os.kill(victim, signal.SIGCONT)
    os.kill(*((command, signal.SIGTERM) if end == "stopped" else (victim, signal.SIGKILL)))


def resume(folder: RunFolder, *arguments: str) -> subprocess.Popen:
    start = "from metaloop.cli.resume import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", start, str(folder.path), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(folder: RunFolder, *arguments: str) -> None:
    worker = resume(folder, *arguments)
    said = worker.communicate(timeout=900)[0]
    assert worker.returncode == 0, said


def test_of_two_that_resume_at_once_one_is_refused_and_changes_nothing(tmp_path):
    stopped = begun(tmp_path / "begun")
    lr = load_config(stopped)["optimizer"]["lr"]
    dice = random.Random(0)
    for number in range(KILLS // 5):
        folder = copy(stopped, tmp_path / str(number))
        both = []
        for _ in range(2):
            both.append(resume(folder, *CHANGE))
            time.sleep(dice.uniform(0, 0.3))
        said = [worker.communicate(timeout=300)[0] for worker in both]
        ended = [worker.returncode for worker in both]
        # the second may come after the first is done: then it changes nothing either
        assert 0 in ended, said
        for status, words in zip(ended, said, strict=True):
            assert status == 0 or "Another process is working in" in words
            assert "Traceback" not in words
        assert_record_is_whole(folder, lr)
