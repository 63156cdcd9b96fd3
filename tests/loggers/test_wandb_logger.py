"""An outage of W&B ends no run, holds none up for long, and loses nothing that wandb can keep."""

import os
import sys
import time
from pathlib import Path

import pytest
import pytorch_lightning as pl
import wandb

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers import OutageProofWandbLogger
from metaloop.loggers.metrics_csv import read_rows
from metaloop.process.signals import Interrupted
from metaloop.run.train import train
from metaloop.run.worker import work
from tests.conftest import run_command
from tests.wandb_records import read_records, rows
from tests.wandb_server import WandbServer

FINISH = 4.0  # seconds that W&B is given at the end here
BROKEN = "2"  # the meta-step after which the fault comes


@pytest.fixture
def server(monkeypatch):
    """A W&B server that a run of this process, online from now on, logs to."""
    server = WandbServer()
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.delenv("WANDB_SILENT", raising=False)
    wandb.teardown()  # it reads its environment once
    yield server
    wandb.teardown()
    server.shutdown()
    server.server_close()
    assert not server.errors


@pytest.fixture
def logged_run(make_run):
    """Write a run's folder that logs to W&B and breaks it after meta-step 2."""

    def make(fault: str, init_timeout: int = 90) -> RunFolder:
        return make_run(
            "logger=wandb",
            "training.log_every=1",
            "evaluation.episodes=2",
            f"logger.wandb.settings.init_timeout={init_timeout}",
            f"logger.wandb.settings.finish_timeout={FINISH}",
            f"+callbacks.fault._target_={__name__}.{fault}",
        )

    return make


def wandb_folders(run: RunFolder) -> list[str]:
    return sorted(p.name.split("-")[0] for p in run.path.glob("wandb/*run-2*"))


def written(run: RunFolder) -> list[dict[str, float]]:
    return [{n: float(v) for n, v in row.items() if v} for row in read_rows(run.metrics)]


def trained_to_the_end(run: RunFolder) -> bool:
    steps = [row["step"] for row in written(run) if "train/query_loss" in row]
    return steps == list(range(1, 11)) and (run.evaluations / "test/results.json").exists()


def sent_later(server: WandbServer, folder: Path) -> list[int]:
    """The meta-steps that wandb sync sends of a folder to the server, which is well again."""
    server.status = 200
    done = run_command("wandb", "sync", "--include-online", str(folder), cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = server.history["testrun1"].values()
    return [line["trainer/global_step"] for line in lines if "train/query_loss" in line]


def test_a_server_that_answers_gets_every_row_and_the_results(server, logged_run, capfd):
    run = logged_run("NoFault")
    train(run)
    assert trained_to_the_end(run)
    (lines,) = server.history.values()
    steps = [line["trainer/global_step"] for line in lines.values() if "train/query_loss" in line]
    assert steps == list(range(1, 11))
    assert "test_one_task" in " ".join(server.files)
    assert f"W&B: {server.url}/me/metaloop/runs/testrun1" in capfd.readouterr().out


def test_a_server_that_cannot_be_reached_leaves_the_run_offline(
    server, logged_run, monkeypatch, capfd
):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    wandb.teardown()
    run = logged_run("NoFault", init_timeout=2)
    start = time.perf_counter()
    train(run)
    assert time.perf_counter() - start < 120
    assert trained_to_the_end(run)
    assert wandb_folders(run) == ["offline", "run"]
    (folder,) = run.path.glob("wandb/offline-run-*-testrun1")
    assert rows(read_records(folder)) == written(run)
    said = capfd.readouterr()
    assert said.err.count("W&B cannot start, and the run logs offline") == 1
    assert f"W&B: {run.path}/wandb" in said.out


@pytest.mark.parametrize(
    "fault",
    [
        "Status500",
        pytest.param("Status429", marks=pytest.mark.slow),
        pytest.param("Gone", marks=pytest.mark.slow),
    ],
)
def test_a_run_survives_a_lost_server_and_the_rest_can_be_sent_later(
    server, logged_run, capfd, fault
):
    Fault.server = server
    run = logged_run(fault)
    start = time.perf_counter()
    train(run)
    assert time.perf_counter() - start < FINISH + 120
    assert trained_to_the_end(run)
    said = capfd.readouterr().err
    (folder,) = run.path.glob("wandb/run-*-testrun1")
    assert f"W&B did not receive everything within {FINISH:g} s" in said
    assert f"wandb sync --include-online {folder}" in said
    assert rows(read_records(folder)) == written(run)
    if fault != "Gone":
        assert sent_later(server, folder) == list(range(1, 11))


@pytest.mark.slow
@pytest.mark.parametrize("status", [402, 403])
def test_a_run_continues_if_the_server_refuses_more_data(server, logged_run, capfd, status):
    Fault.server = server
    run = logged_run(f"Status{status}")
    train(run)
    assert trained_to_the_end(run)
    assert "Use `wandb sync` at the end of the run" in capfd.readouterr().err
    (folder,) = run.path.glob("wandb/run-*-testrun1")
    assert rows(read_records(folder)) == written(run)
    assert sent_later(server, folder) == list(range(1, 11))


def test_a_run_survives_the_death_of_wandbs_process(server, logged_run, capfd):
    run = logged_run("Killed")
    train(run)
    assert trained_to_the_end(run)
    assert capfd.readouterr().err.count("W&B failed, and the run continues without it") == 1


def test_online_without_an_api_key_is_refused_before_training(
    make_run, monkeypatch, tmp_path, capfd
):
    for name in [n for n in os.environ if n.startswith("WANDB")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "NETRC", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))
    monkeypatch.setenv("WANDB_MODE", "online")
    wandb.teardown()
    run = make_run("logger=wandb")
    monkeypatch.setattr(sys, "argv", ["metaloop.run", str(run.path)])
    assert work() == 1
    wandb.teardown()
    said = capfd.readouterr().err
    assert "WANDB_MODE=online needs an account at W&B" in said
    assert "wandb login" in said
    assert "WANDB_MODE=offline" in said
    assert "Traceback" not in said
    assert run.read_status()["state"] == "failed"
    assert not run.checkpoints.exists()


def test_a_mode_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(UserError, match="WANDB_MODE=ofline .* online, offline or disabled"):
        OutageProofWandbLogger(project="metaloop")


def test_disabled_trains_and_leaves_no_wandb_files(make_run, monkeypatch, capfd):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()
    run = make_run("logger=wandb")
    train(run)
    wandb.teardown()
    assert (run.evaluations / "test/results.json").exists()
    assert not list(run.path.glob("wandb/*run*"))
    assert "W&B" not in capfd.readouterr().out


def test_a_stop_signal_within_wandb_is_not_taken_for_its_error():
    logger = OutageProofWandbLogger(project="metaloop")
    with pytest.raises(Interrupted), logger._report_failure():
        raise Interrupted(2, "now")


class Fault(pl.Callback):
    """What happens to W&B after a meta-step."""

    server: WandbServer

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == int(BROKEN):
            self.strike()

    def strike(self) -> None:
        raise NotImplementedError


class NoFault(pl.Callback):
    pass


class Status500(Fault):
    status = 500

    def strike(self) -> None:
        self.server.status = self.status


class Status429(Status500):
    status = 429


class Status402(Status500):
    status = 402


class Status403(Status500):
    status = 403


class Gone(Fault):
    def strike(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Killed(Fault):
    def strike(self) -> None:
        """Kill the process wandb-core that this process started."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                number, name, _, parent, *_ = stat.read_text().split()
            except OSError:  # one that has ended meanwhile
                continue
            if name.startswith("(wandb") and int(parent) == os.getpid():
                os.kill(int(number), 9)
                return
        sys.exit("no process of W&B was found")
