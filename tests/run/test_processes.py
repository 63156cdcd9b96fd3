"""Several processes are one run: they end together, and make the numbers of one process."""

import csv
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.run_config import RunConfig
from metaloop.run.train import train
from tests.conftest import ROOT, composed, needs_compiler
from tests.run.stopped_runs import (
    COST,
    assert_same_run,
    finish,
    rank,
    running,
    saved_step,
    start,
    wait_for_step,
    wait_until_all_ended,
    weights,
    write,
)

TWO = ("device=ddp", "device.accelerator=cpu")
ENDLESS = ("training.max_steps=100000", "training.save_every=10")


def kill(victim: str, folder: RunFolder) -> None:
    """Kill one of a run's processes some steps on, and wait until none is left."""
    rows = read_rows(folder.metrics)
    reached = int(rows[-1]["step"]) if rows else 0
    agent = start(folder, 2)
    wait_for_step(folder, reached + 14, agent)
    assert {"", "0", "1"} <= set(running(folder).values())
    os.kill(agent.pid if victim == "agent" else rank(folder, int(victim[-1])), signal.SIGKILL)
    agent.communicate(timeout=90)
    assert agent.returncode != 0
    wait_until_all_ended(folder)


def test_ranks_end_with_the_agent_that_is_killed_and_save_before(tmp_path):
    folder = write(tmp_path, *TWO, *ENDLESS)
    kill("agent", folder)
    assert folder.read_status()["state"] == "interrupted"
    assert f"at meta-step {saved_step(folder)}, which was saved" in folder.read_status()["reason"]
    with folder.lock():
        pass  # nobody holds it


@pytest.mark.slow
def test_whichever_process_dies_all_end_and_the_run_goes_on_to_the_same_weights(tmp_path):
    arguments = (*TWO, "training.max_steps=200", "training.save_every=10")
    whole, folder = write(tmp_path / "whole", *arguments), write(tmp_path / "parts", *arguments)
    finish(whole)
    for victim in ("rank 0", "rank 1", "agent"):
        kill(victim, folder)
    finish(folder)
    assert_same_run(folder, whole)


def values(path: Path) -> torch.Tensor:
    with path.open() as file:
        return torch.tensor([list(map(float, row)) for row in list(csv.reader(file))[1:]])


@pytest.mark.slow  # two processes: tests/test_ranks.py
def test_two_machines_started_by_torchrun_make_the_numbers_of_one_process(tmp_path):
    arguments = ("device.precision=64-true", "training.max_steps=8", "training.log_every=2")
    arguments += ("callbacks=minimal", "training.validate_every=4")
    one = write(tmp_path / "one", *arguments)
    train(one)
    two = write(tmp_path / "two", *arguments, *TWO, "device.devices=1", "device.nodes=2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *place]
    agents = [
        subprocess.Popen(
            [*torchrun, f"--node-rank={node}", "-m", "metaloop.run", str(two.path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for node in (0, 1)
    ]
    said = [agent.communicate(timeout=300)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert two.read_status()["state"] == "completed"
    expected = weights(one.last_checkpoint)
    for name, value in weights(two.last_checkpoint).items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, expected[name], rtol=1e-10, atol=1e-10)
    rows = [read_rows(folder.metrics) for folder in (one, two)]
    assert len(rows[0]) == len(rows[1]) == 6
    for a, b in zip(*rows, strict=True):
        for name in set(a) - set(COST):
            assert (a[name] == "") == (b[name] == "")
            if a[name]:
                assert float(a[name]) == pytest.approx(float(b[name]), rel=1e-6)
    judged = [values(f.evaluations / "test" / "episodes.csv") for f in (one, two)]
    torch.testing.assert_close(*judged, rtol=1e-6, atol=1e-8)


@needs_compiler
@pytest.mark.slow
def test_two_processes_that_compile_make_the_numbers_of_one_that_does_not(
    tmp_path, monkeypatch, cache
):
    monkeypatch.setenv("METALOOP_CACHE", str(cache))
    arguments = ("device.precision=64-true", "training.max_steps=4", "callbacks=minimal")
    one = write(tmp_path / "one", *arguments)
    train(one)
    two = write(tmp_path / "two", *arguments, *TWO, "device.compile=true")
    said = finish(two)
    assert "Compiled in" in said
    assert "running eagerly" not in said
    expected = weights(one.last_checkpoint)
    for name, value in weights(two.last_checkpoint).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("started", "device", "says"),
    [
        ("4", ["device.devices=2"], "makes 2 processes, and torchrun has started 4"),
        (None, ["device.nodes=2"], "Execute the folder by torchrun on each, or by srun"),
    ],
)
def test_another_number_of_processes_than_the_config_says_is_refused(
    started, device, says, monkeypatch
):
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    if started is not None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
        monkeypatch.setenv("WORLD_SIZE", started)
    config = RunConfig.of(composed("device=cpu", "data.meta_batch_size=24", *device))
    with pytest.raises(UserError, match=says):
        config.device.require_started()
