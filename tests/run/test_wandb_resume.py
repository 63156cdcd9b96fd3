"""A run that is killed keeps its rows at W&B, and goes on in the same W&B run when it resumes."""

import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
import pytorch_lightning as pl
import wandb

from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.write import write_run
from metaloop.run.train import train
from tests.conftest import SMALL, composed, run_command
from tests.wandb_records import read_records, rows
from tests.wandb_server import WandbServer

LAST = 110
RUN = (
    *SMALL,
    "logger=wandb",
    f"training.max_steps={LAST}",
    "training.validate_every=1000",
    "training.log_every=1",
    "training.save_every=20",
    "evaluation.episodes=2",
    f"+callbacks.slow._target_={__name__}.Slow",
)
Rows = list[dict[str, float]]


class Killed(NamedTuple):
    """What a run had written when it was killed, and then when it had resumed to its end."""

    folder: RunFolder
    second_before: Rows  # metrics.csv one second before the kill
    at_the_kill: Rows
    first: Rows  # W&B's two folders
    second: Rows
    at_the_end: Rows


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Killed:
    folder = write_run(composed(*RUN), RUN, tmp_path_factory.mktemp("killed"), "run")
    environment = {**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    worker = subprocess.Popen([sys.executable, "-m", "metaloop.run", folder.path], env=environment)
    while len(written(folder)) < 30:  # one checkpoint at least
        assert worker.poll() is None
        time.sleep(0.1)
    second_before = written(folder)
    time.sleep(1)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    at_the_kill = written(folder)
    (place,) = folder.path.glob("wandb/offline-run-*")
    first = rows(read_records(place))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        wandb.teardown()
        train(folder)
        wandb.teardown()
    _, place = sorted(folder.path.glob("wandb/offline-run-*"))
    second = rows(read_records(place))
    return Killed(folder, second_before, at_the_kill, first, second, written(folder))


def written(folder: RunFolder) -> Rows:
    return [{n: float(v) for n, v in row.items() if v} for row in read_rows(folder.metrics)]


def steps(logged: Rows) -> list[int]:
    return [int(row["step"]) for row in logged]


def test_rows_older_than_a_second_survive_kill_9(killed):
    assert 30 <= len(killed.second_before) < len(killed.at_the_kill) < LAST
    assert killed.first[: len(killed.second_before)] == killed.second_before
    assert killed.first == killed.at_the_kill[: len(killed.first)]


def test_both_folders_are_of_the_runs_one_id(killed):
    names = [p.name for p in killed.folder.path.glob("wandb/offline-run-*")]
    assert len(names) == 2
    assert {name.rpartition("-")[2] for name in names} == {"testrun1"}


def test_no_row_is_lost_and_none_comes_twice_within_a_folder(killed):
    restart = steps(killed.second)[0]
    assert restart % 20 == 1  # the checkpoint it resumed from was after the step before
    assert steps(killed.first) == list(range(1, len(killed.first) + 1))
    assert steps(killed.second) == list(range(restart, LAST + 1))
    # what lies between the checkpoint and the kill was computed twice, and stands in both
    assert restart <= len(killed.first) + 1
    assert killed.at_the_end == killed.first[: restart - 1] + killed.second


def test_wandb_sync_joins_the_folders_in_one_run(killed):
    server = WandbServer()
    place = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40}
    environment = {n: v for n, v in os.environ.items() if n not in ("WANDB_MODE", "WANDB_SILENT")}
    folders = sorted(map(str, killed.folder.path.glob("wandb/offline-run-*")))
    done = run_command(
        "wandb", "sync", *reversed(folders), env={**environment, **place}, cwd=killed.folder.path
    )
    assert done.returncode == 0, done.stderr
    assert set(server.history) == {"testrun1"}
    lines = [line for _, line in sorted(server.history["testrun1"].items())]
    sent = [line["trainer/global_step"] for line in lines if "train/query_loss" in line]
    assert sent == steps(killed.first) + steps(killed.second)
    inner = [line["_step"] for line in lines]
    assert inner == sorted(set(inner))  # what W&B orders rows by, and drops them for
    server.shutdown()
    server.server_close()
    assert not server.errors


class Slow(pl.Callback):
    """Makes a meta-step of the smallest run take as long as one of a small run."""

    def on_train_batch_end(self, *_: object) -> None:
        time.sleep(0.02)
