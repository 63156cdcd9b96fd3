"""A sweep whose jobs Hydra's submitit launcher gives to a real Slurm."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.run.stopped_runs import weights
from tests.slurm.test_jobs import DDP

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="no hydra-submitit-launcher")
pytestmark = pytest.mark.slow

SWEEP = (
    "metaloop-train",
    "-m",
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.timeout_min=20",
    "experiment=smoke",
    "logger=csv",
    "data.validation_episodes=4",
    "evaluation.episodes=4",
)


def runs(folder: Path) -> dict[Path, str]:
    """The run folders of the sweep, and their states."""
    files = sorted(folder.glob("outputs/multirun/*/*/status.json"))
    return {path.parent: json.loads(path.read_text())["state"] for path in files}


def reports(folder: Path) -> str:
    """All that the jobs have said."""
    return "\n".join(p.read_text() for p in folder.rglob(".submitit/**/*.*") if "_log." in p.name)


def test_every_job_of_a_sweep_is_a_slurm_job(slurm, tmp_path):
    done = slurm.run(*SWEEP, "hydra.launcher.cpus_per_task=1", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + reports(tmp_path)
    assert list(runs(tmp_path).values()) == ["completed"] * 2
    seeds = {
        re.search(r"^seed: (.)$", (f / "config.yaml").read_text(), re.M)[1] for f in runs(tmp_path)
    }
    assert seeds == {"0", "1"}


def test_a_job_of_two_processes_is_one_task_in_which_torchrun_starts_them(slurm, tmp_path):
    for place, device in (("one", ()), ("two", DDP)):
        (tmp_path / place).mkdir()
        done = slurm.run(
            *SWEEP,
            *("hydra.launcher.cpus_per_task=2", "seed=0", "device.precision=64-true", *device),
            cwd=tmp_path / place,
        )
        assert done.returncode == 0, done.stderr + reports(tmp_path)
    (one,), (two,) = (runs(tmp_path / place) for place in ("one", "two"))
    a, b = (weights(f / "checkpoints/last.ckpt") for f in (one, two))
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert (value - b[name]).abs().max() < 1e-10


def test_a_job_whose_time_is_up_is_saved_before_submitit_requeues_it(slurm, tmp_path):
    steps = {"max_steps": 500, "validate_every": 250, "log_every": 10, "save_every": 100000}
    long = ["seed=0", *(f"training.{key}={value}" for key, value in steps.items())]
    with (tmp_path / "output").open("w") as output:
        sweep = subprocess.Popen(
            [*SWEEP, *long],
            cwd=tmp_path,
            env=slurm.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: list(tmp_path.glob("outputs/multirun/*/*/metrics.csv")), tmp_path)
        (first,) = runs(tmp_path)
        number = slurm.run("squeue", "--noheader", "--format=%i").stdout.strip()
        slurm.signal(number, "USR2")  # as submitit's --signal=USR2@..
        wait_until((first / "checkpoints/last.ckpt").exists, tmp_path)
        wait_until(lambda: slurm.job(number)["Restarts"] == "1", tmp_path)
        assert sweep.wait(timeout=900) == 0, (tmp_path / "output").read_text() + reports(tmp_path)
    finally:
        sweep.kill()
    assert "Caught signal SIGUSR2" in reports(tmp_path)
    assert runs(tmp_path) == {first: "completed"}  # the same run goes on


def wait_until(is_true, folder: Path) -> None:
    end = time.monotonic() + 600
    while not is_true():
        assert time.monotonic() < end, f"{runs(folder)}\n{reports(folder)}"
        time.sleep(0.1)
