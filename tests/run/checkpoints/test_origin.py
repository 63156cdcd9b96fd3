"""A checkpoint says what it is of; on resuming, a change is shown, and made only if asked for."""

import json
import math
import os
import re
import shutil
import sys
from importlib.metadata import version

import pytest
import torch
import yaml

import metaloop.cli.resume
from metaloop.callbacks import DurableCheckpointIO
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.checkpoints.origin import accepted_at, changes_between
from metaloop.run.config.read import load_config
from metaloop.run.config.write import rewrite_run, write_run
from metaloop.run.train import train
from tests.conftest import SMALL, composed

LENGTH = ("training.max_steps=10", "training.log_every=1", "model.hidden=[8]")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunFolder:
    """A run of 20 meta-steps that was stopped at 10."""
    arguments = [*SMALL, *LENGTH, "scheduler=cosine", "scheduler.T_max=20", "optimizer.lr=0.01"]
    folder = write_run(composed(*arguments), arguments, tmp_path_factory.mktemp("trained"), "run")
    torch.set_num_threads(1)
    train(folder)
    config = load_config(folder)
    rewrite_run(folder, {**config, "training": {**config["training"], "max_steps": 20}}, [], [])
    return folder


@pytest.fixture
def stopped(trained, tmp_path) -> RunFolder:
    """A copy of it."""
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


def change(folder: RunFolder, path: str, value: object) -> None:
    """Change a key in config.yaml, as by hand."""
    config = load_config(folder)
    *parents, last = path.split(".")
    section = config
    for parent in parents:
        section = section[parent]
    section[last] = value
    folder.config.write_text(yaml.safe_dump(config))


def change_origin(folder: RunFolder, name: str, value: object) -> None:
    checkpoint = torch.load(folder.last_checkpoint, weights_only=True)
    held = checkpoint["origin"][name]
    checkpoint["origin"][name] = held | value if isinstance(held, dict) else value
    torch.save(checkpoint, folder.last_checkpoint)


def accept_change(folder: RunFolder, path: str, value: object) -> None:
    before = load_config(folder)
    change(folder, path, value)
    accept(folder, changes_between(before, load_config(folder)))


def accept(folder: RunFolder, changes) -> None:
    folder.write_accepted(accepted_at(folder, 10, changes))


def enter(monkeypatch, folder: RunFolder, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["metaloop-resume", str(folder.path), *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    metaloop.cli.resume.main()


def resume(monkeypatch, capsys, folder: RunFolder, *arguments: str) -> str:
    """What metaloop-resume says when it refuses."""
    with pytest.raises(SystemExit) as ended:
        enter(monkeypatch, folder, *arguments)
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_every_checkpoint_carries_config_and_versions_in_plain_containers(make_run):
    folder = make_run("callbacks=default")
    train(folder)
    for path in (folder.last_checkpoint, folder.best_checkpoint):
        origin = torch.load(path, weights_only=True)["origin"]
        assert origin["config"] == load_config(folder)
        assert origin["versions"]["torch"] == version("torch")
        assert set(origin["versions"]) == {"metaloop", "torch"}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("model.hidden", [8, 8], r"has another model .*\n  model.hidden: \[8\] -> \[8, 8\]"),
        (
            "algorithm._target_",
            "metaloop.fomaml",
            r"has another algorithm .*\n  algorithm._target_: metaloop.maml",
        ),
    ],
)
def test_a_checkpoint_of_another_model_or_algorithm_is_refused_by_name(
    key, value, says, stopped, monkeypatch, capsys
):
    change(stopped, key, value)
    if "fomaml" in value:
        config = load_config(stopped)
        del config["algorithm"]["adjoint"]
        stopped.config.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=says):
        train(stopped)
    assert re.search(says, resume(monkeypatch, capsys, stopped, "--accept-changes"))


def test_another_version_that_reads_the_format_goes_on_and_says_so(stopped, capsys):
    change_origin(stopped, "versions", {"metaloop": "0.2.9"})
    train(stopped)
    assert f"metaloop 0.2.9 -> {version('metaloop')}" in capsys.readouterr().out


def test_a_checkpoint_of_another_format_or_of_none_is_refused_by_name(stopped, monkeypatch, capsys):
    change_origin(stopped, "format", 2)
    says = f"in format 2, and metaloop {version('metaloop')} reads format 1"
    with pytest.raises(UserError, match=says):
        train(stopped)
    assert says in resume(monkeypatch, capsys, stopped, "--accept-changes")
    checkpoint = torch.load(stopped.last_checkpoint, weights_only=True)
    del checkpoint["origin"]
    torch.save(checkpoint, stopped.last_checkpoint)
    with pytest.raises(UserError, match="contains no config"):
        train(stopped)


def test_weights_that_do_not_fit_are_refused_whatever_the_checkpoint_says(stopped):
    checkpoint = torch.load(stopped.last_checkpoint, weights_only=True)
    checkpoint["state_dict"]["model.more"] = torch.zeros(1)
    torch.save(checkpoint, stopped.last_checkpoint)
    with pytest.raises(UserError, match="belongs to another model or algorithm: it has model.more"):
        train(stopped)


def test_a_changed_key_is_shown_before_and_after_and_refused_by_command_and_worker(
    stopped, monkeypatch, capsys
):
    shown = "optimizer.lr: 0.01 -> 0.1"
    before = stopped.config.read_text()
    said = resume(monkeypatch, capsys, stopped, "optimizer.lr=0.1")
    assert shown in said
    assert f"metaloop-resume {stopped.path} optimizer.lr=0.1 --accept-changes" in said
    assert stopped.config.read_text() == before
    change(stopped, "optimizer.lr", 0.1)
    with pytest.raises(UserError, match=f"{shown}(?s:.)*metaloop-resume .* --accept-changes"):
        train(stopped)
    assert shown in resume(monkeypatch, capsys, stopped)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("optimizer=sgd", "optimizer=sgd makes another choice.*optimizer._target_"),
        ("optimizer.lrr=1", "optimizer.lrr is unknown in this run's config. Did you mean lr"),
        ("lr", "lr is not KEY=VALUE"),
        ("optimizer.lr=-1", "optimizer.lr=-1: Invalid learning rate"),
        ("training.max_steps=5", "max_steps=5 is less than the 10 meta-steps that the run"),
        ("training.max_steps=more", "training.max_steps='more' .* a whole number"),
    ],
)
def test_what_no_resuming_can_change_is_refused(argument, says, stopped, monkeypatch, capsys):
    assert re.search(says, resume(monkeypatch, capsys, stopped, argument, "--accept-changes"))


def test_an_accepted_change_is_recorded_with_its_meta_step(stopped, monkeypatch, capsys):
    # two machines: the command writes the folder, and says how they execute it
    enter(monkeypatch, stopped, "optimizer.lr=0.1", "device.nodes=2", "--accept-changes")
    assert "torchrun --nnodes=2 --nproc-per-node=1 --master-addr=FIRST" in capsys.readouterr().out
    recorded = json.loads(stopped.changes.read_text())["accepted"]
    assert recorded == [{"meta_step": 10, "changes": {"optimizer.lr": [0.01, 0.1]}}]
    assert yaml.safe_load(stopped.overrides.read_text())[-2:] == [
        "optimizer.lr=0.1",
        "device.nodes=2",
    ]
    assert load_config(stopped)["optimizer"]["lr"] == 0.1


def test_a_change_taken_back_before_it_took_effect_is_not_recorded(stopped, monkeypatch):
    for lr in ("0.1", "0.01"):
        enter(monkeypatch, stopped, f"optimizer.lr={lr}", "device.nodes=2", "--accept-changes")
    assert not stopped.changes.exists()
    assert load_config(stopped)["optimizer"]["lr"] == 0.01


def test_a_run_that_took_no_step_may_become_shorter_and_any_other(stopped, monkeypatch):
    shutil.rmtree(stopped.checkpoints)
    enter(monkeypatch, stopped, "training.max_steps=6", "optimizer.lr=0.1", "device.nodes=2")
    config = load_config(stopped)
    assert (config["training"]["max_steps"], config["optimizer"]["lr"]) == (6, 0.1)
    assert not stopped.changes.exists()


def test_while_one_resumes_another_changes_nothing_and_is_refused(stopped, monkeypatch, capsys):
    before = stopped.config.read_text()
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with stopped.lock():
            os.write(ready[1], b".")
            os.read(done[0], 1)
            os._exit(0)
    os.read(ready[0], 1)
    said = resume(monkeypatch, capsys, stopped, "optimizer.lr=0.1", "--accept-changes")
    os.write(done[1], b".")
    os.waitpid(child, 0)
    assert f"Another process is working in {stopped.path}" in said
    assert stopped.config.read_text() == before
    assert not stopped.changes.exists()


def test_an_accepted_learning_rate_takes_effect_on_the_schedule_and_keeps_the_moments(stopped):
    exact = RunFolder(shutil.copytree(stopped.path, stopped.path.with_name("exact")))
    accept_change(stopped, "optimizer.lr", 0.1)
    train(stopped)
    # the schedule: eta_min + (lr - eta_min) (1 + cos(pi t / T_max)) / 2, as if always so
    rows = {int(row["step"]): row for row in read_rows(stopped.metrics) if row["train/lr"]}
    for step, lr in ((10, 0.01), (11, 0.1), (19, 0.1)):
        now = 1e-5 + (lr - 1e-5) * (1 + math.cos(math.pi * step / 20)) / 2
        assert float(rows[step]["train/lr"]) == pytest.approx(now, rel=1e-6)
    # the moments: the 11th step is Adam's 11th, not its first, whose size would be lr
    accept_change(exact, "optimizer.lr", 0.01 + 1e-12)
    train(exact)
    (state,) = torch.load(exact.last_checkpoint, weights_only=True)["optimizer_states"]
    assert {int(s["step"]) for s in state["state"].values()} == {20}


def test_an_accepted_optimizer_of_another_kind_starts_without_moments(stopped):
    before = load_config(stopped)
    config = {**before, "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.5}}
    stopped.config.write_text(yaml.safe_dump(config))
    accept(stopped, changes_between(before, config))
    train(stopped)
    (state,) = torch.load(stopped.last_checkpoint, weights_only=True)["optimizer_states"]
    assert all(s.get("exp_avg") is None for s in state["state"].values())
    assert state["param_groups"][0]["initial_lr"] == 0.5


@pytest.mark.slow
def test_patience_accepted_after_early_stopping_lets_the_run_go_on(make_run):
    folder = make_run(
        *LENGTH,
        "training.max_steps=40",
        "training.validate_every=2",
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=1",
        "optimizer.lr=1e-30",  # nothing ever improves
    )
    train(folder)
    step = torch.load(folder.last_checkpoint, weights_only=True)["global_step"]
    assert step < 40
    accept_change(folder, "callbacks.early_stopping.patience", 100)
    train(folder)
    assert torch.load(folder.last_checkpoint, weights_only=True)["global_step"] == 40


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("device.tasks_at_once", 2, "device.tasks_at_once by_size -> 2"),
        ("device.chunks_at_once", 1, "device.chunks_at_once by_size -> 1"),
        ("device.deterministic", True, "device.deterministic False -> True"),
        ("logger", {}, None),
        ("data.workers", 1, None),
    ],
)
def test_another_place_is_no_other_run_but_what_costs_bits_is_said(
    key, value, says, stopped, capsys
):
    change(stopped, key, value)
    train(stopped)
    torch.use_deterministic_algorithms(False)
    said = capsys.readouterr().out
    assert (f"an uninterrupted run in their last bits: {says}" in said) == bool(says)


def test_other_threads_or_another_torch_cost_bits_too(stopped, capsys):
    change_origin(stopped, "layout", {"threads": 3})
    change_origin(stopped, "versions", {"torch": "2.0.0"})
    train(stopped)
    assert f"threads 3 -> 1, torch 2.0.0 -> {version('torch')}" in capsys.readouterr().out


def test_a_checkpoint_that_was_read_is_not_read_again(tmp_path):
    content = {"global_step": 3}
    files = DurableCheckpointIO(read={tmp_path / "last.ckpt": content})
    assert files.load_checkpoint(tmp_path / "last.ckpt") is content  # there is no such file
    with pytest.raises(FileNotFoundError):
        files.load_checkpoint(tmp_path / "last.ckpt")
    assert not files.read
