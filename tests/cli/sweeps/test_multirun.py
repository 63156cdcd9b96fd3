"""Sweeps: jobs one by one or at once, finished by the same command, and searched by Optuna."""

import copy
import importlib.util
import json
import os
import signal
import time
from datetime import datetime

import optuna
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from optuna.trial import TrialState

from metaloop.cli.configs import CONF
from metaloop.cli.sweeps.multirun import begin
from metaloop.errors import UserError
from tests.cli.sweeps.sweeps import (
    SEARCH,
    at_work,
    finish,
    running_in,
    start,
    states,
    wait_until,
)
from tests.conftest import run_command

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
# long enough to be caught in the middle, short enough to be run to the end
CATCHABLE = ("training.max_steps=600", "training.log_every=10", "training.save_every=50")


def killed_and_finished(root, *arguments, jobs):
    """Kill a sweep once every job at work has saved, run the same command again, and once more."""
    sweep = start(root, *arguments)
    wait_until(lambda: "completed" in states(root) and len(at_work(root)) > 2, sweep)
    sweep.kill()
    sweep.communicate()
    wait_for_end(root)
    assert "completed" in states(root)
    assert len(states(root)) < jobs or set(states(root)) != {"completed"}
    completed = {path: path.stat().st_mtime_ns for path in results(root)}
    status, said = finish(root, *arguments)
    assert status == 0, said
    assert states(root) == ["completed"] * jobs
    assert "goes on" in said
    # what was done is left as it is
    assert {path: path.stat().st_mtime_ns for path in completed} == completed
    assert said.count("was completed before") == len(completed)
    table = run_command("metaloop-sweep", str(root / "sweep"))
    assert table.returncode == 0, table.stderr
    rows = (root / "sweep" / "sweep.csv").read_text().splitlines()
    assert len([row for row in rows if ",completed," in row]) == jobs


def results(root):
    return list((root / "sweep").glob("*/evaluations/test/results.json"))


def wait_for_end(root):
    """A killed command's jobs notice, save and end."""
    for _ in range(600):
        if not running_in(root):
            return
        time.sleep(0.1)
    raise AssertionError(f"still running: {running_in(root)}")


@pytest.mark.slow
def test_jobs_at_once_killed_half_way_are_finished_by_the_same_command(tmp_path):
    killed_and_finished(tmp_path, *CATCHABLE, *JOBLIB, "seed=range(4)", jobs=4)


@pytest.mark.slow
def test_a_sweep_of_twelve_jobs_killed_half_way_ends_with_twelve_folders_and_one_table(tmp_path):
    grid = ("algorithm=maml,fomaml", "algorithm.inner_lr=0.01,0.1", "seed=0,1,2")
    killed_and_finished(tmp_path, *CATCHABLE, *JOBLIB, *grid, jobs=12)


@pytest.mark.parametrize(
    ("launcher", "how"),
    [
        ((), "interrupted"),
        pytest.param((), "killed", marks=pytest.mark.slow),
        pytest.param(JOBLIB, "interrupted", marks=pytest.mark.slow),
        pytest.param(JOBLIB, "killed", marks=pytest.mark.slow),
    ],
)
def test_a_sweep_that_is_stopped_leaves_nothing_running_and_no_step_lost(how, launcher, tmp_path):
    endless = ("seed=0,1,2", "training.max_steps=1000000", "training.save_every=1000000")
    sweep = start(tmp_path, *endless, *launcher)
    jobs = 2 if launcher else 1
    wait_until(lambda: len(at_work(tmp_path)) == jobs, sweep)
    if how == "interrupted":
        os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does
    else:
        sweep.kill()
    said = sweep.communicate(timeout=120)[0]
    wait_for_end(tmp_path)
    assert states(tmp_path) == ["interrupted"] * jobs  # and no further job began
    for folder in at_work(tmp_path):
        assert (folder / "checkpoints/last.ckpt").exists()
    if how == "interrupted":
        assert sweep.returncode == 130
        assert "What is missing:\n  metaloop-train -m" in said
        assert "hydra.sweep.dir=" in said


def test_a_failing_job_is_reported_with_error_and_folder_and_does_not_stop_the_others(tmp_path):
    arguments = ("optimizer.lr=-1,0.001", "training.max_steps=4")
    status, said = finish(tmp_path, *arguments)
    assert status == 1
    assert "2 jobs: 1 completed, 1 not." in said
    failed, done = sorted((tmp_path / "sweep").glob("*/status.json"), key=lambda p: p.read_text())[
        ::-1
    ]
    assert json.loads(done.read_text())["state"] == "completed"
    report = said.split("1 not.")[1]
    assert (
        f"optimizer.lr=-1\n    optimizer.lr=-1: Invalid learning rate: -1\n    {failed.parent}"
        in (report.replace(str(tmp_path) + "/", "").replace("sweep/", f"{tmp_path}/sweep/", 1))
    )


LAUNCHERS = [
    pytest.param((), marks=pytest.mark.slow, id="basic"),
    pytest.param(JOBLIB, marks=pytest.mark.slow, id="joblib"),
    pytest.param(("hydra/launcher=submitit_local",), marks=pytest.mark.slow, id="submitit_local"),
    pytest.param(
        ("hydra/launcher=ray", "+hydra.launcher.ray.init.include_dashboard=false"),
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(
                importlib.util.find_spec("ray") is None,
                reason="Ray is not installed: pip install 'metaloop[ray]'",
            ),
        ],
        id="ray",
    ),
]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_jobs_of_two_processes_train_their_own_config_under_every_launcher(launcher, tmp_path):
    ranks = ("device=ddp", "device.accelerator=cpu", "device.precision=64-true")
    status, said = finish(tmp_path, *launcher, *ranks, "seed=3,4", "optimizer=sgd")
    assert status == 0, said
    assert states(tmp_path) == ["completed"] * 2
    found = {}
    for path in (tmp_path / "sweep").glob("*/config.yaml"):
        checkpoint = torch.load(path.parent / "checkpoints/last.ckpt", weights_only=True)
        found[OmegaConf.load(path).seed] = checkpoint["state_dict"]
    single = run_command(
        "metaloop-train",
        *("experiment=smoke", "logger=csv", "device=cpu"),
        "callbacks=minimal",
        "device.precision=64-true",
        "optimizer=sgd",
        "seed=4",
        cwd=tmp_path,
    )
    assert single.returncode == 0, single.stderr
    (alone,) = (tmp_path / "outputs").glob("*/checkpoints/last.ckpt")
    expected = torch.load(alone, weights_only=True)["state_dict"]
    for name, value in expected.items():
        torch.testing.assert_close(found[4][name], value, rtol=1e-10, atol=1e-12)
        assert not name.endswith("weight") or not torch.equal(found[3][name], value)


@pytest.mark.slow
def test_a_search_killed_in_a_trial_completes_the_trials_it_lacks(tmp_path):
    arguments = (*SEARCH, *CATCHABLE, "hydra.sweeper.n_trials=2")
    sweep = start(tmp_path, *arguments)
    wait_until(lambda: len(at_work(tmp_path)) == 2, sweep)
    sweep.kill()
    sweep.communicate()
    wait_for_end(tmp_path)
    status, said = finish(tmp_path, *arguments)
    assert status == 0, said
    assert "goes on" in said  # the trial that was cut off, with its own values
    assert states(tmp_path) == ["completed"] * 2
    storage = f"sqlite:///{tmp_path}/sweep/optuna.db"
    trials = optuna.load_study("metaloop", storage).trials
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert trials[1].params == trials[2].params


def sweep_of(folder):
    """The config of a sweep in a folder, and where it begins."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"hydra.sweep.dir={folder}"], return_hydra_config=True)
    OmegaConf.set_readonly(config.hydra, False)
    return config


def test_a_sweep_has_one_command_at_a_time(tmp_path):
    first = begin(sweep_of(tmp_path / "sweep"))
    with pytest.raises(UserError, match=f"process {os.getpid()} on .*Wait for it or stop it"):
        begin(sweep_of(tmp_path / "sweep"))
    del first  # its end: the lock is gone with it
    assert begin(sweep_of(tmp_path / "sweep")).path == tmp_path / "sweep"


def test_two_sweeps_of_one_second_have_names_of_their_own(tmp_path):
    named_by_time = sweep_of(f"{tmp_path}/${{now:%Y}}")
    sweeps = [begin(copy.deepcopy(named_by_time)) for _ in range(2)]
    year = f"{datetime.now():%Y}"
    assert [sweep.path.name for sweep in sweeps] == [year, f"{year}-2"]


@pytest.mark.slow
def test_a_job_that_diverged_is_reported_and_left_as_it_is(tmp_path):
    arguments = ("algorithm.inner_lr=0.01,1e20", "training.max_steps=4")
    for told in ("begins", "diverged before and would again"):
        status, said = finish(tmp_path, *arguments)
        assert status == 1
        assert "2 jobs: 1 completed, 1 not." in said
        assert f"algorithm.inner_lr=1e+20: {told}" in said
        assert "The run diverged: the meta-gradient of meta-step" in said
    assert sorted(states(tmp_path)) == ["completed", "diverged"]
    assert "diverged" in run_command("metaloop-sweep", str(tmp_path / "sweep")).stdout
