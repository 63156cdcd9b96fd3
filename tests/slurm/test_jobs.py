"""Composed folders as jobs of a real Slurm: srun, time limits, preemption, cancellation."""

import re
import sys
import time

import pytest
import torch

from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from tests.conftest import ROOT
from tests.docs.document import JOB
from tests.run.stopped_runs import assert_same_run, finish, weights, write

pytestmark = pytest.mark.slow

SCRIPT = """\
#!/bin/bash
#SBATCH --requeue --open-mode=append --signal=USR1@90
cd {root}
{command}
"""
DDP = ("device=ddp", "device.accelerator=cpu", "data.meta_batch_size=4")
ONE_TASK = f"srun {sys.executable} -m metaloop.run"


def script(folder: RunFolder, start: str = ONE_TASK):
    """A batch script that executes the folder."""
    path = folder.path.parent / "job.sh"
    path.write_text(SCRIPT.format(root=ROOT, command=f"{start} {folder.path}"))
    return path


def said(folder: RunFolder) -> str:
    return (folder.path.parent / "job.out").read_text()


def wait_for_step(slurm, job: str, folder: RunFolder, step: int) -> None:
    end = time.monotonic() + 900
    while not any(int(row["step"]) >= step for row in read_rows(folder.metrics)):
        state = slurm.job(job)["JobState"]
        assert state in ("PENDING", "RUNNING", "CONFIGURING"), f"{state}\n{said(folder)}"
        assert time.monotonic() < end, said(folder)
        time.sleep(0.05)


def saved_step(folder: RunFolder) -> int:
    return torch.load(folder.last_checkpoint, weights_only=True)["global_step"]


@pytest.mark.parametrize("start", [ONE_TASK, f"exec {sys.executable} -m metaloop.run"])
def test_before_its_time_is_up_a_job_saves_requeues_itself_and_ends_as_if_never_stopped(
    slurm, uninterrupted, tmp_path, start
):
    folder = write(tmp_path, "data.workers=1")  # Slurm's signals reach the workers too
    job = slurm.submit(script(folder, start))
    wait_for_step(slurm, job, folder, 70)
    if start == ONE_TASK:
        slurm.signal(job, "USR1")
    else:  # as --signal=B:USR1@90 does: to the script alone, which has become the run
        slurm.run("scancel", "--batch", "--signal=USR1", job)
    assert slurm.finish(job) == "COMPLETED"
    assert slurm.job(job)["Restarts"] == "1"
    assert f"Slurm starts job {job} again" in said(folder)
    (step,) = re.findall(r"Resuming at meta-step (\d+)", said(folder))
    assert int(step) % 30  # no interval's, but the one it was stopped at
    assert_same_run(folder, uninterrupted)


@pytest.mark.parametrize("partition", ["graceful", "abrupt"])
def test_a_preempted_job_saves_and_goes_on_when_there_is_room_again(
    slurm, uninterrupted, tmp_path, partition
):
    folder = write(tmp_path)
    job = slurm.submit(script(folder), f"--partition={partition}")
    wait_for_step(slurm, job, folder, 70)
    urgent = slurm.run("srun", "--partition=urgent", "--ntasks=2", "true")
    assert urgent.returncode == 0, urgent.stderr
    assert slurm.finish(job) == "COMPLETED"
    assert slurm.job(job)["Restarts"] == "1"
    (step,) = re.findall(r"Resuming at meta-step (\d+)", said(folder))
    assert int(step) % 30
    assert_same_run(folder, uninterrupted)


def test_a_cancelled_job_saves_and_is_not_started_again(slurm, tmp_path):
    folder = write(tmp_path)
    job = slurm.submit(script(folder))
    wait_for_step(slurm, job, folder, 70)
    slurm.run("scancel", job)
    assert slurm.finish(job) == "CANCELLED"
    end = time.monotonic() + 60
    while folder.read_status()["state"] != "interrupted":
        assert time.monotonic() < end, said(folder)
        time.sleep(0.2)
    assert saved_step(folder) >= 70
    assert "again" not in said(folder)
    assert slurm.job(job)["Restarts"] == "0"


def test_two_tasks_of_srun_train_to_the_weights_of_one_process(slurm, tmp_path):
    exact = ("device.precision=64-true", "optimizer=sgd", "training.max_steps=40")
    one = write(tmp_path / "one", *exact, "data.meta_batch_size=4")
    finish(one)
    two = write(tmp_path / "two", *exact, *DDP, "device.devices=2")
    done = slurm.run(
        "srun", "-n", "2", sys.executable, "-m", "metaloop.run", str(two.path), cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert two.read_status()["state"] == "completed"
    assert done.stdout.count("Training: ") == 1
    a, b = weights(one.last_checkpoint), weights(two.last_checkpoint)
    for name, value in a.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(b[name], value, rtol=1e-10, atol=1e-10)


def test_two_tasks_stop_at_one_step_and_go_on_to_the_weights_of_two_never_stopped(slurm, tmp_path):
    start = f"srun --ntasks-per-node=2 --kill-on-bad-exit=1 {sys.executable} -m metaloop.run"
    two = (*DDP, "device.devices=2", "training.max_steps=200")
    folders = [write(tmp_path / name, *two) for name in ("whole", "stopped")]
    whole, stopped = (slurm.submit(script(f, start), "--ntasks=2") for f in folders)
    assert slurm.finish(whole) == "COMPLETED", said(folders[0])
    wait_for_step(slurm, stopped, folders[1], 70)
    slurm.signal(stopped, "USR1")
    assert slurm.finish(stopped) == "COMPLETED", said(folders[1])
    assert slurm.job(stopped)["Restarts"] == "1"
    assert_same_run(folders[1], folders[0])


def test_the_script_of_the_readme_trains_the_folder_that_it_names(slurm, tmp_path):
    folder = write(tmp_path, *DDP, "device.devices=2", "training.max_steps=20")
    gpus = "#SBATCH --gpus-per-node=2\n"  # there are none here
    assert gpus in JOB
    text = JOB.replace(gpus, "").replace("--cpus-per-task=4", "").replace("FOLDER", "run")
    folder.path.rename(tmp_path / "run")
    (tmp_path / "job.sh").write_text(text)
    job = slurm.submit(tmp_path / "job.sh", f"--chdir={tmp_path}")
    assert slurm.finish(job) == "COMPLETED", (tmp_path / "job.out").read_text()
    assert RunFolder(tmp_path / "run").read_status()["state"] == "completed"


@pytest.mark.parametrize(
    ("tasks", "overrides", "says"),
    [
        ("2", (), "devices=1 a machine .* started 2 a machine"),
        ("1", (*DDP, "device.devices=2"), "devices=2 a machine .* started 1 a machine"),
    ],
)
def test_another_number_of_tasks_than_the_config_is_for_is_refused(
    slurm, tmp_path, tasks, overrides, says
):
    folder = write(tmp_path, *overrides)
    done = slurm.run(
        "srun", "-n", tasks, sys.executable, "-m", "metaloop.run", str(folder.path), cwd=ROOT
    )
    assert done.returncode == 1
    assert re.search(says, done.stderr)
    assert "Traceback" not in done.stderr
    assert folder.read_status()["state"] == "failed"
