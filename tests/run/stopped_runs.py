"""Small runs that tests start, stop in every way, finish and compare."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from metaloop.cli.execute import worker_arguments
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.read import load_config
from metaloop.run.config.write import rewrite_run, write_run
from metaloop.run.train import train
from tests.conftest import ROOT, SMALL, composed, run_command

COST = ("train/episodes_per_second", "train/memory_mb")
RUN = (
    *SMALL,
    "callbacks=default",
    "++callbacks.pictures=null",  # ten validations' would take longer than all else
    "training.max_steps=400",
    "training.validate_every=40",
    "training.save_every=30",
    "training.log_every=7",
    "scheduler=cosine",
    "scheduler.T_max=400",
    "model.hidden=[16]",
)
# How soon all of a run's processes must have ended, on a machine that does other work besides.
PROMPTLY = 90


def train_in_two_parts(folder: RunFolder, *, stop_at: int) -> None:
    """Train a run to a meta-step, and from there to its end."""
    asked = load_config(folder)["training"]
    for training in ({**asked, "max_steps": stop_at}, asked):
        rewrite_run(folder, {**load_config(folder), "training": training}, [], [])
        train(folder)


def write(root: Path, *overrides: str, **sections: dict) -> RunFolder:
    config = {**composed(*RUN, *overrides), **sections}
    return write_run(config, [*RUN, *overrides], root, "run")


def start(folder: RunFolder, processes: int = 1, **kwargs) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *worker_arguments(folder, processes)],
        stdout=kwargs.pop("stdout", subprocess.PIPE),
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        **kwargs,
    )


def wait_for_step(folder: RunFolder, step: int, worker: subprocess.Popen) -> None:
    while not any(int(row["step"]) >= step for row in read_rows(folder.metrics)):
        assert worker.poll() is None, worker.stdout.read()
        time.sleep(0.01)


def finish(folder: RunFolder) -> str:
    done = run_command("metaloop-resume", str(folder.path), cwd=ROOT, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def saved_step(folder: RunFolder) -> int:
    return torch.load(folder.last_checkpoint, weights_only=True)["global_step"]


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def assert_same_run(one: RunFolder, other: RunFolder) -> None:
    assert_same_weights(one.last_checkpoint, other.last_checkpoint)
    assert_same_weights(one.best_checkpoint, other.best_checkpoint)
    rows = [
        [{k: v for k, v in row.items() if k not in COST} for row in read_rows(folder.metrics)]
        for folder in (one, other)
    ]
    assert rows[0] == rows[1]
    results = [(f.evaluations / "test" / "episodes.csv").read_text() for f in (one, other)]
    assert results[0] == results[1]


def running(folder: RunFolder) -> dict[int, str]:
    """The processes that work in a folder: their numbers, and their ranks ("" for an agent)."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (
                (place / name).read_bytes().decode(errors="replace").split("\0")
                for name in ("cmdline", "environ")
            )
            state = (place / "stat").read_text().rpartition(") ")[2][0]
        except OSError:  # it has just ended
            continue
        if str(folder.path) in command and state != "Z":
            values = dict(v.partition("=")[::2] for v in environment)
            is_agent = "torch.distributed.run" in command
            found[int(place.name)] = "" if is_agent else values.get("RANK", "0")
    return found


def rank(folder: RunFolder, number: int) -> int:
    """The process that is this rank: of those that share its environment, the first."""
    return min(pid for pid, rank in running(folder).items() if rank == str(number))


def wait_until_all_ended(folder: RunFolder, within: float = PROMPTLY) -> None:
    deadline = time.monotonic() + within
    while left := running(folder):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


def stop_at_random(
    folder: RunFolder, processes: int, dice: random.Random, spread: float, log: Path
) -> str:
    """Start a run, end it at a random moment in a random way; say when and how."""
    with log.open("w") as out:
        worker = start(folder, processes, stdout=out)
        try:
            while "meta-step" not in (said := log.read_text()) and "Training: " not in said:
                assert worker.poll() is None, said
                time.sleep(0.01)
            delay = dice.uniform(0, spread)
            time.sleep(delay)
            assert worker.poll() is None, f"it ended before it could be stopped: {log.read_text()}"
            how = _stop(folder, worker, processes, dice)
            worker.wait(PROMPTLY)
            wait_until_all_ended(folder)
        finally:
            worker.kill()
    rows = read_rows(folder.metrics)
    reached = rows[-1]["step"] if rows else "0"
    return f"{delay:.2f} s after its start: {how}, a row at meta-step {reached}"


def _stop(folder: RunFolder, worker: subprocess.Popen, processes: int, dice: random.Random) -> str:
    number = dice.choices([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], [14, 3, 3])[0]
    if processes == 1 or number != signal.SIGKILL:
        worker.send_signal(number)
        return f"{number.name} to the {'worker' if processes == 1 else 'agent'}"
    victim = dice.choice(["rank 0", "rank 1", "agent"])
    os.kill(worker.pid if victim == "agent" else rank(folder, int(victim[-1])), number)
    return f"SIGKILL to {victim}"
