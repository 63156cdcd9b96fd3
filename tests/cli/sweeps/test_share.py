"""Jobs at once on one machine: GPUs of their own, and their share of the cores."""

import os
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from metaloop.cli.sweeps.share import own_gpus, see_all_gpus, threads_of_a_job, visible_gpus
from metaloop.folders.sweep_folder import GPUS, SweepFolder

# holds GPUs for a moment, and writes down when it had which
HOLDER = """
import sys, time
from pathlib import Path
from metaloop.cli.sweeps.share import own_gpus
folder, needed, gpus = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(",")
with own_gpus(needed, gpus, lambda: False, folder / "locks") as mine:
    begun = time.time()
    time.sleep(0.3)
    (folder / f"{begun}.held").write_text(f"{begun} {time.time()} {','.join(mine)}")
"""


def holder(folder, needed, gpus="GPU-a,GPU-b,MIG-c/1"):
    return subprocess.Popen([sys.executable, "-c", HOLDER, str(folder), str(needed), gpus])


def test_no_two_jobs_have_a_gpu_at_one_time_and_all_have_their_turn(tmp_path):
    jobs = [holder(tmp_path, needed) for needed in (1, 2, 1, 3, 1, 2)]
    assert [job.wait(timeout=120) for job in jobs] == [0] * 6
    held = [path.read_text().split(" ") for path in tmp_path.glob("*.held")]
    assert sorted(len(mine.split(",")) for _, _, mine in held) == [1, 1, 1, 2, 2, 3]
    for gpu in ("GPU-a", "GPU-b", "MIG-c/1"):
        times = sorted((float(b), float(e)) for b, e, mine in held if gpu in mine.split(","))
        assert times
        for (_, end), (begin, _) in pairwise(times):
            assert end <= begin


def test_a_killed_job_gives_its_gpu_back(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER.replace("0.3", "60"), str(tmp_path), "1", "0"]
    ) as first:
        while not (tmp_path / "locks" / "0").exists():
            time.sleep(0.05)
        first.kill()
    with own_gpus(1, ["0"], lambda: False, tmp_path / "locks") as mine:
        assert mine == ["0"]


def test_a_job_that_waits_for_a_gpu_stops_waiting_when_the_sweep_stops(tmp_path):
    with (
        own_gpus(1, ["0"], lambda: False, tmp_path),
        own_gpus(1, ["0"], lambda: True, tmp_path) as none,
    ):
        assert none == []


def test_gpus_are_named_as_the_environment_does_or_by_number(monkeypatch):
    monkeypatch.delenv(GPUS, raising=False)
    assert visible_gpus(2) == ["0", "1"]
    monkeypatch.setenv(GPUS, "3,GPU-abc")
    assert visible_gpus(2) == ["3", "GPU-abc"]


@pytest.mark.parametrize("seen", [None, "2,3"])
def test_a_job_sees_the_gpus_that_its_command_saw(seen, tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv(GPUS, raising=False)
    if seen is not None:
        monkeypatch.setenv(GPUS, seen)
    sweep = SweepFolder(tmp_path)
    sweep.begin([])
    monkeypatch.setenv(GPUS, "")  # as submitit's local launcher leaves it
    see_all_gpus(sweep)
    assert os.environ.get(GPUS) == seen


def test_gpus_that_a_cluster_gave_are_the_jobs_alone(tmp_path, monkeypatch):
    SweepFolder(tmp_path).begin([])
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv(GPUS, "5")
    see_all_gpus(SweepFolder(tmp_path))
    assert os.environ[GPUS] == "5"


@pytest.mark.parametrize(
    ("launcher", "processes", "threads"),
    [
        ({}, 1, None),  # one job after the other: all cores are its own
        ({"n_jobs": 2}, 1, 4),
        ({"n_jobs": 2}, 2, 2),
        ({"n_jobs": -1}, 1, 1),
        ({"n_jobs": 16}, 1, 1),
        ({"cpus_per_task": 6}, 2, 3),
        ({"cpus_per_task": None}, 1, 1),
        ({"ray": {"remote": {"num_cpus": 3}}}, 1, 3),
        ({"ray": {"remote": {}}}, 1, 1),
    ],
)
def test_jobs_at_once_share_the_cores(launcher, processes, threads, monkeypatch):
    monkeypatch.setattr("metaloop.cli.sweeps.share._cores", lambda: 8)
    assert threads_of_a_job(launcher, processes) == threads
