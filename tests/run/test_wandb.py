"""W&B: offline by default, complete, and never touched where it is not asked for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metaloop.callbacks.metrics_csv import read_rows
from metaloop.run.build import load_config
from metaloop.run_folder import RunFolder
from tests.conftest import run_command

RUN = ("experiment=smoke", "device=cpu", "training.max_steps=20")


def read_back(folder: Path) -> list[dict]:
    """The records of a run folder's offline W&B run, in order."""
    (run,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    leet = Path(sys.executable).parent / "wandb"
    shown = subprocess.run(
        [str(leet), "leet", "inspect", "--json", str(run)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in shown.stdout.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    root = tmp_path_factory.mktemp("wandb")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    done = run_command("metaloop-train", *RUN, cwd=root, env={**environment, "HOME": str(root)})
    assert done.returncode == 0, done.stderr
    (path,) = (root / "outputs").iterdir()
    return RunFolder(path)


def test_without_an_account_or_a_setting_it_logs_offline(run):
    records = read_back(run.path)
    assert records


def test_every_row_of_metrics_csv_is_there_against_the_meta_step(run):
    history = [r["history"]["item"] for r in read_back(run.path) if r["type"] == "history"]
    rows = [
        {name: float(value) for name, value in row.items() if value}
        for row in read_rows(run.metrics)
    ]
    assert len(rows) == 10 + 4  # every 2nd step logged, every 5th validated
    logged = [
        {
            name.replace("trainer/global_step", "step"): float(value)
            for name, value in item.items()
            if not name.startswith(("_", "pictures/"))
        }
        for item in history
    ]
    for row in rows:
        assert row in logged


def test_config_and_pictures_are_there(run):
    config = load_config(run)
    text = json.dumps(read_back(run.path))
    assert config["algorithm"]["inner_lr"] == 0.01
    for key in ("algorithm", "task", "optimizer", "inner_lr", "meta_batch_size"):
        assert f'"{key}"' in text or f'\\"{key}\\"' in text
    (files,) = (run.path / "wandb").glob("offline-run-*/files")
    pictures = {p.name.split("_")[0] + "_" + p.name.split("_")[1] for p in files.rglob("*.png")}
    assert {"one_task", "adaptation_curve", "learning_curve"} <= pictures


def test_other_loggers_never_touch_wandb(make_run, monkeypatch):
    for logger in ("csv", "none"):
        folder = make_run(f"logger={logger}")
        check = (
            "import sys; sys.argv[1:] = [sys.argv[1]]; "
            "from metaloop.run.__main__ import main; assert main() == 0; "
            "assert 'wandb' not in sys.modules"
        )
        done = subprocess.run(
            [sys.executable, "-c", check, str(folder.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not (folder.path / "wandb").exists()
        assert (folder.metrics.exists()) == (logger == "csv")
