"""A run in a Slurm job, as far as it can be told without one; tests/slurm has a real one."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from metaloop.errors import UserError
from metaloop.run.config.cluster import SlurmStep, cluster_environments
from metaloop.run.config.settings import Device
from metaloop.tasks import Sinusoid
from metaloop.training.datamodule import EpisodicDataModule
from tests.run.stopped_runs import wait_for_step, write

SCONTROL = """\
#!/bin/sh
echo "$@" >> {calls}
if [ "$1" = show ]; then echo "JobId=7 JobState={state} PreemptTime={preempted}"; fi
[ -z "{refusal}" ] || {{ echo "{refusal}" >&2; exit 1; }}
"""


def device(devices=1, nodes=1):
    return Device(
        accelerator="cpu",
        devices=devices,
        nodes=nodes,
        precision="32-true",
        tasks_at_once="all",
        compile=False,
        deterministic=False,
    )


@pytest.fixture
def in_job(monkeypatch):
    """Set Slurm's variables as they are in a job."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC"))]:
        monkeypatch.delenv(name)

    def be(**variables):
        for name, value in {"JOB_ID": "7", **variables}.items():
            monkeypatch.setenv(f"SLURM_{name}", value)

    return be


def test_outside_of_a_job_lightning_knows_the_processes(in_job):
    assert cluster_environments(device(2)) == []


def test_under_torchrun_lightning_knows_the_processes(in_job, monkeypatch):
    in_job(STEP_TASKS_PER_NODE="1(x2)")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert cluster_environments(device(2)) == []


def test_torchrun_started_twice_on_a_machine_is_refused(in_job, monkeypatch):
    in_job(STEP_TASKS_PER_NODE="2(x3)")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(UserError, match="one task a machine"):
        cluster_environments(device(2, nodes=3))


@pytest.mark.parametrize("variables", [{}, {"NTASKS": "4"}, {"STEP_TASKS_PER_NODE": "1"}])
def test_one_process_in_a_job_is_one_whatever_the_job_was_given(in_job, variables):
    in_job(**variables)
    (environment,) = cluster_environments(device())
    assert environment.world_size() == 1


def test_the_tasks_of_srun_on_two_machines_meet_on_the_first(in_job):
    in_job(
        STEP_TASKS_PER_NODE="2(x2)",
        STEP_NUM_NODES="2",
        STEP_NUM_TASKS="4",
        STEP_NODELIST="gpu[03-04]",
        STEP_ID="1",
        PROCID="3",
        LOCALID="1",
        NODEID="1",
    )
    (environment,) = cluster_environments(device(2, nodes=2))
    assert isinstance(environment, SlurmStep)
    ranks = environment.world_size(), environment.global_rank(), environment.local_rank()
    assert ranks == (4, 3, 1)
    assert environment.node_rank() == 1
    assert environment.main_address == "gpu03"
    port = environment.main_port
    in_job(STEP_ID="2")
    assert environment.main_port != port


@pytest.mark.parametrize(
    ("processes", "started"),
    [((1, 1), "2"), ((2, 1), "1"), ((2, 1), None), ((2, 2), "3,1"), ((2, 2), "4")],
)
def test_another_number_of_tasks_than_the_config_is_for_is_refused(in_job, processes, started):
    in_job(**({} if started is None else {"STEP_TASKS_PER_NODE": started}))
    with pytest.raises(UserError, match="srun --nodes=. --ntasks-per-node"):
        cluster_environments(device(*processes))


class Signalling(Sinusoid):
    """Tasks whose drawing sends every signal but Ctrl-C that Slurm sends to a worker."""

    def draw(self, split, streams):
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        return super().draw(split, streams)


def test_a_signal_to_all_of_a_job_ends_no_worker_that_draws_ahead():
    data = EpisodicDataModule(Signalling(shots=2, queries=2), seed=0, meta_batch_size=3, workers=1)
    data.setup("fit")
    indices = next(iter(data.train_dataloader())).indices
    assert torch.equal(indices, torch.arange(3))


REQUEUED = ["requeue 7"]


@pytest.mark.parametrize(
    ("number", "job", "asked"),
    [
        (signal.SIGUSR1, {}, REQUEUED),
        (signal.SIGUSR1, {"SLURM_PROCID": "1"}, []),
        (signal.SIGUSR1, {"SLURM_PROCID": "1", "RANK": "0"}, REQUEUED),
        (signal.SIGUSR1, {"METALOOP_NO_REQUEUE": "1"}, []),
        (signal.SIGUSR1, {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}, ["requeue 5_2"]),
        (signal.SIGUSR2, {}, []),
        (signal.SIGINT, {}, []),
        (signal.SIGTERM, {"preempted": "2026-01-01T00:00:00"}, ["show job 7", *REQUEUED]),
        (signal.SIGTERM, {"preempted": "None"}, ["show job 7"]),
        (signal.SIGTERM, {"state": "CANCELLED"}, ["show job 7"]),
        (signal.SIGTERM, {"state": "PENDING"}, ["show job 7"]),
    ],
)
def test_the_first_process_requeues_what_is_not_cancelled(number, job, asked, tmp_path):
    said = requeue(number, tmp_path, **job)
    calls = tmp_path / "calls"
    assert (calls.read_text().splitlines() if calls.exists() else []) == asked
    assert ("starts job" in said) == (len(asked) > 0 and asked[-1].startswith("requeue"))


def test_why_slurm_does_not_requeue_is_said(tmp_path):
    said = requeue(signal.SIGUSR1, tmp_path, refusal="Requested operation is disabled")
    assert said == "Slurm does not start job 7 again: Requested operation is disabled\n"


def requeue(number, folder, *, state="RUNNING", preempted="None", refusal="", **job) -> str:
    """Call requeue_job in a process of its own, beside a scontrol that writes down its calls."""
    scontrol = folder / "scontrol"
    values = {"calls": folder / "calls", "state": state, "preempted": preempted, "refusal": refusal}
    scontrol.write_text(SCONTROL.format(**values))
    scontrol.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    environment |= {"SLURM_JOB_ID": "7", "PATH": f"{folder}:{os.environ['PATH']}", **job}
    code = f"from metaloop.process.slurm_requeue import requeue_job; requeue_job({int(number)})"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_without_slurm_sigusr1_saves_and_stops(tmp_path):
    folder = write(tmp_path)
    worker = subprocess.Popen(
        [sys.executable, "-m", "metaloop.run", str(folder.path)],
        env={k: v for k, v in os.environ.items() if not k.startswith("SLURM_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for_step(folder, 70, worker)
    worker.send_signal(signal.SIGUSR1)
    worker.send_signal(signal.SIGTERM)  # follows on it: not a second one of the same
    said = worker.communicate()[0]
    assert "which was saved" in said
    assert folder.read_status()["state"] == "interrupted"
    step = torch.load(folder.last_checkpoint, weights_only=True)["global_step"]
    assert step >= 70
