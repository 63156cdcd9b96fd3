"""W&B: offline by default, complete, and never touched where it is not asked for."""

import json
import os

import pytest

from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.read import load_config
from metaloop.run.train import _settle_wandb
from tests.conftest import run_command
from tests.wandb_records import read_records, rows, summary

RUN = (
    "experiment=smoke",
    "device=cpu",
    "training.max_steps=20",
    "algorithm=meta_sgd",
    "training.own_lr=0.0003",
)


def read_back(run: RunFolder) -> list[dict]:
    (folder,) = run.path.glob("wandb/offline-run-*")
    return read_records(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    root = tmp_path_factory.mktemp("wandb")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    done = run_command("metaloop-train", *RUN, cwd=root, env={**environment, "HOME": str(root)})
    assert done.returncode == 0, done.stderr
    (path,) = (root / "outputs").iterdir()
    return RunFolder(path)


def test_without_an_account_or_a_setting_it_logs_offline(run):
    assert read_back(run)


def test_every_row_of_metrics_csv_is_there_against_the_meta_step(run):
    written = [
        {name: float(value) for name, value in row.items() if value}
        for row in read_rows(run.metrics)
    ]
    assert len(written) == 10 + 4  # every 2nd step logged, every 5th validated
    assert rows(read_back(run)) == written


def test_what_there_is_to_watch_is_logged(run):
    logged = {name for row in rows(read_back(run)) for name in row}
    for stage in ("train", "val"):
        assert {f"{stage}/query_loss", f"{stage}/query_loss_before"} <= logged
    assert {"meta_gradient_norm", "episodes_per_second", "memory_mb"} <= {
        name.removeprefix("train/") for name in logged
    }


def test_the_learning_rates_of_the_model_and_of_the_algorithms_own_parameters_are_logged(run):
    rates = {
        (row["train/lr"], row["train/own_lr"]) for row in read_rows(run.metrics) if row["train/lr"]
    }
    assert {tuple(map(float, pair)) for pair in rates} == {(0.001, 0.0003)}


def test_the_whole_config_is_attached(run):
    updates = [r["config"]["update"] for r in read_back(run) if r["type"] == "config"]
    attached = {name: value for update in updates for name, value in update.items()}
    config = load_config(run)
    assert config["algorithm"]["inner_lr"] == 0.01
    assert {name: attached[name] for name in config} == config


def test_pictures_of_training_and_of_the_final_evaluation_are_there(run):
    (files,) = (run.path / "wandb").glob("offline-run-*/files")
    pictures = {p.name.rsplit("_", 2)[0] for p in files.rglob("*.png")}
    assert pictures == {
        "one_task",
        "adaptation_curve",
        "step_sizes",
        "learning_curve",
        "test_one_task",
        "test_adaptation_curve",
    }


def test_the_summary_ends_with_the_test_results_and_their_intervals(run):
    results = json.loads((run.evaluations / "test/results.json").read_text())
    loss, values = results["metrics"]["query_loss"], summary(read_back(run))
    assert values["test/query_loss"] == pytest.approx(loss["mean"][-1], rel=1e-12)
    assert values["test/query_loss_ci95"] == pytest.approx(loss["ci95"][-1], rel=1e-12)
    assert values["test/query_loss_before"] == pytest.approx(loss["mean"][0], rel=1e-12)
    assert values["test/interval"] == "closed"
    assert values["trainer/global_step"] == 20


@pytest.mark.parametrize(
    ("sweep", "mode", "expected"),
    [
        (None, None, "offline"),
        (None, "online", "online"),
        ("sweep123", None, "online"),  # its server waits for the values
        ("sweep123", "offline", "offline"),
    ],
)
def test_where_nothing_is_set_a_run_is_offline_and_an_agents_job_online(
    sweep, mode, expected, monkeypatch
):
    given = {
        "WANDB_SWEEP_ID": sweep,
        "WANDB_MODE": mode,
        "WANDB_RUN_ID": None,
        "WANDB_SILENT": None,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    _settle_wandb("testrun1")
    assert os.environ["WANDB_MODE"] == expected
    assert os.environ.get("WANDB_RUN_ID") == ("testrun1" if sweep else None)


def test_other_loggers_never_touch_wandb(make_run, tmp_path):
    check = tmp_path / "check.py"
    check.write_text(
        "import sys\n"
        "from metaloop.run.__main__ import main\n"
        "assert main() == 0\n"
        "assert 'wandb' not in sys.modules\n"
    )
    for logger in ("csv", "none"):
        folder = make_run(f"logger={logger}")
        done = run_command("python", str(check), str(folder.path))
        assert done.returncode == 0, done.stderr
        assert not (folder.path / "wandb").exists()
        assert (folder.metrics.exists()) == (logger == "csv")
