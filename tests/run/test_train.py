"""A run that was stopped, however, ends as the run that was not."""

import json
import os
import signal
import time
from importlib.metadata import version

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.callbacks.resume_checkpoint import ONE_PRESS
from metaloop.folders.run_folder import RunFolder
from metaloop.run.train import train
from tests.conftest import run_command
from tests.run.stopped_runs import (
    assert_same_run,
    finish,
    start,
    wait_for_step,
    weights,
    write,
)


class SlowStep(pl.Callback):
    """Makes the step after the first logged one last ten minutes."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == 7:
            print("A slow step", flush=True)
            time.sleep(600)


class Dropping(nn.Module):
    """An MLP whose chance is no module: F.dropout."""

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.body, self.head = nn.Linear(input_size, 8), nn.Linear(8, output_size)

    def forward(self, x):
        return self.head(F.dropout(torch.tanh(self.body(x)), 0.2, training=self.training))


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stop_signal_saves_at_the_step_and_ends_cleanly(number, uninterrupted, tmp_path):
    folder = write(tmp_path)
    worker = start(folder)
    wait_for_step(folder, 70, worker)
    worker.send_signal(number)
    said = worker.communicate()[0]
    assert worker.returncode == 128 + number
    assert f"metaloop-resume {folder.path}" in said
    assert folder.read_status()["state"] == "interrupted"
    step = torch.load(folder.last_checkpoint, weights_only=True)["global_step"]
    assert step >= 70
    assert f"Resuming at meta-step {step}" in finish(folder)
    assert_same_run(folder, uninterrupted)


def wait_for_line(worker, says):
    while says not in (line := worker.stdout.readline()):
        assert line, "the worker has ended"


def test_a_second_stop_signal_ends_at_once(tmp_path):
    folder = write(tmp_path, "+callbacks.slow._target_=tests.run.test_train.SlowStep")
    worker = start(folder)
    wait_for_line(worker, "A slow step")
    worker.send_signal(signal.SIGINT)
    wait_for_line(worker, "Stopping after this meta-step")
    time.sleep(2 * ONE_PRESS)
    worker.send_signal(signal.SIGINT)
    said = worker.communicate(timeout=120)[0]
    assert worker.returncode == 128 + signal.SIGINT
    assert "SIGINT immediately" in said


def test_a_damaged_last_checkpoint_falls_back_and_ends_the_same(uninterrupted, tmp_path):
    folder = write(tmp_path)
    worker = start(folder)
    wait_for_step(folder, 100, worker)
    worker.kill()
    worker.wait()
    worker.stdout.close()
    whole = folder.last_checkpoint.read_bytes()
    folder.last_checkpoint.write_bytes(whole[:1000])
    said = finish(folder)
    assert "last.ckpt cannot be read" in said
    assert "Falling back to the checkpoint before it" in said
    assert_same_run(folder, uninterrupted)


def test_a_run_extended_later_is_the_run_that_was_longer_from_the_start(uninterrupted, tmp_path):
    folder = write(tmp_path, "training.max_steps=170")
    finish(folder)
    done = run_command("metaloop-resume", str(folder.path), "training.max_steps=400", cold=True)
    assert done.returncode == 0, done.stderr
    assert_same_run(folder, uninterrupted)


def test_chance_inside_the_step_is_repeated_and_any_seed_will_do(tmp_path):
    arguments = ("seed=4294967295", "training.validate_every=1000", "device.tasks_at_once=1")
    model = {"_target_": f"{__name__}.Dropping"}
    whole = write(tmp_path / "whole", *arguments, "training.max_steps=20", model=model)
    parts = write(tmp_path / "parts", *arguments, "training.max_steps=9", model=model)
    finish(whole)
    finish(parts)
    done = run_command("metaloop-resume", str(parts.path), "training.max_steps=20")
    assert done.returncode == 0, done.stderr
    one, other = (weights(folder.last_checkpoint) for folder in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_moved_run_remembers_its_best_checkpoint(tmp_path):
    # a learning rate of 10 makes every later validation worse than the first
    folder = write(tmp_path, "training.max_steps=40", "optimizer.lr=10", "scheduler.eta_min=10")
    finish(folder)
    best = weights(folder.best_checkpoint)
    moved = RunFolder(folder.path.rename(tmp_path / "moved"))
    done = run_command("metaloop-resume", str(moved.path), "training.max_steps=80")
    assert done.returncode == 0, done.stderr
    again = weights(moved.best_checkpoint)
    assert all(torch.equal(best[name], again[name]) for name in best)


def test_early_stopping_is_final(tmp_path):
    folder = write(
        tmp_path,
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=2",
        "optimizer.lr=10",
        "scheduler.eta_min=10",
    )
    finish(folder)
    step = torch.load(folder.last_checkpoint, weights_only=True)["global_step"]
    assert step < 400
    assert "Early stopping had ended this run" in finish(folder)
    assert torch.load(folder.last_checkpoint, weights_only=True)["global_step"] == step


def test_a_stop_signal_during_the_evaluation_is_no_failure(tmp_path):
    folder = write(tmp_path, "training.max_steps=4", "evaluation.episodes=1000000")
    worker = start(folder)
    while "Evaluating" not in (line := worker.stdout.readline()):
        assert line, "the worker ended before its evaluation"
    worker.send_signal(signal.SIGTERM)
    said = worker.communicate(timeout=60)[0]
    assert worker.returncode == 128 + signal.SIGTERM
    assert f"metaloop-resume {folder.path}" in said
    assert folder.read_status()["state"] == "interrupted"


@pytest.mark.parametrize("module", ["metaloop.run.worker", "torch", "pytorch_lightning"])
def test_a_stop_signal_before_anything_has_begun_shows_no_traceback(module, tmp_path):
    """PYTHONVERBOSE names each module's file as it begins to be imported."""
    worker = start(write(tmp_path), env={**os.environ, "PYTHONVERBOSE": "1"})
    file = "/".join(module.split("."))
    while f"/{file}.py" not in (line := worker.stdout.readline()) and (
        f"/{file}/__init__.py" not in line
    ):
        assert line, f"the worker ended before it imported {module}"
    worker.send_signal(signal.SIGINT)
    said = worker.communicate(timeout=120)[0]
    assert worker.returncode == 128 + signal.SIGINT, said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_stop_signal_stops_both_processes_at_one_step_in_mixed_precision_too(tmp_path):
    folder = write(
        tmp_path,
        "training.max_steps=100000",
        "device.devices=2",
        "device.precision=bf16-mixed",
        "data.meta_batch_size=4",
    )
    agent = start(folder, 2)
    wait_for_step(folder, 14, agent)
    agent.send_signal(signal.SIGINT)
    said = agent.communicate(timeout=120)[0]
    assert folder.read_status()["state"] == "interrupted", said
    step = torch.load(folder.last_checkpoint, weights_only=True)["global_step"]
    assert step >= 14
    assert f"at meta-step {step}, which was saved" in said


def test_two_workers_never_share_a_folder(tmp_path):
    folder = write(tmp_path, "training.max_steps=100000")
    first = start(folder)
    wait_for_step(folder, 14, first)
    second = run_command("metaloop-resume", str(folder.path))
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert "Another process is working in" in second.stderr


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    for path, says in ((tmp_path / "no", "There is no folder"), (tmp_path, "is not a run folder")):
        done = run_command("metaloop-resume", str(path))
        assert done.returncode == 1
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_the_environment_of_a_run_is_recorded(uninterrupted):
    environment = json.loads(uninterrupted.environment.read_text())
    assert environment["versions"]["torch"] == version("torch")
    assert {"git", "platform", "gpus"} <= set(environment)


def test_a_run_says_why_nothing_was_validated_and_when_all_is_trained(make_run, capsys):
    folder = make_run("training.max_steps=2", "training.validate_every=3", "evaluation.episodes=2")
    train(folder)
    said = capsys.readouterr().out
    assert "No validation: training.validate_every=3 is above training.max_steps=2." in said
    train(folder)
    assert (
        f"All 2 meta-steps are trained; evaluating again: {folder.path}" in capsys.readouterr().out
    )
