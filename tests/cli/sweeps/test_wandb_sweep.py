"""Sweeps and W&B: its own, whose agents run metaloop-train, and Hydra's, a W&B run a job."""

import os
import sys
from pathlib import Path

import pytest
import yaml
from wandb.wandb_agent import Agent

from metaloop.cli.hydra_app import CONF
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.read import load_config
from tests.conftest import run_command
from tests.wandb_records import read_records

SWEEP = yaml.safe_load((CONF / "wandb_sweep.yaml").read_text())
SHORTER = ("experiment=smoke", "device=cpu", "callbacks=minimal", "evaluation.episodes=2")


def run_record(folder: Path) -> dict:
    (place,) = folder.glob("wandb/offline-run-*")
    (record,) = [r["run"] for r in read_records(place) if r["type"] == "run"]
    return record


@pytest.mark.slow
def test_an_agent_of_a_wandb_sweep_runs_metaloop_train_under_its_ids(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep123")
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_DIR"):  # the agent sets them
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    chosen = {name: drawn["min"] for name, drawn in SWEEP["parameters"].items()}
    chosen |= {"algorithm": "fomaml", "init_from": None, "scheduler": {"factor": 0.5}}
    arguments = {name: {"value": value} for name, value in chosen.items()}
    agent = Agent(None, None, sweep_id="sweep123")
    agent._sweep_command = [*SWEEP["command"], *SHORTER]  # as it reads the YAML from the server
    agent._command_run({"run_id": "agentrun", "program": SWEEP["program"], "args": arguments})
    assert agent._run_processes["agentrun"].wait(timeout=900) == 0

    (path,) = (tmp_path / "outputs").iterdir()
    config = load_config(RunFolder(path))
    assert config["run_id"] == "agentrun"
    for name, value in chosen.items():
        section, _, key = name.partition(".")
        assert not key or config[section][key] == value
    assert config["scheduler"]["factor"] == 0.5
    assert config["init_from"] is None
    assert path.name.endswith("_fomaml")
    record = run_record(path)
    assert (record["run_id"], record["sweep_id"]) == ("agentrun", "sweep123")
    (place,) = path.glob("wandb/offline-run-*-agentrun")
    attached: dict[str, object] = {}
    for part in read_records(place):
        attached |= part.get("config", {}).get("update", {})
        attached |= part.get("run", {}).get("config", {}).get("update", {})
    # what the sweep holds fast, by its names, and all of the config beside
    assert {name: attached[name] for name in chosen} == chosen
    for held in ("algorithm", "scheduler"):
        for name, value in config[held].items():
            assert attached[f"{held}.{name}"] == value
    assert attached["task"] == config["task"]
    assert SWEEP["metric"]["name"] in read_rows(RunFolder(path).metrics)[0]


@pytest.mark.slow
def test_every_job_of_a_multirun_is_a_run_of_its_own_in_one_group(tmp_path):
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_RUN_ID": "notforall"}
    done = run_command(
        "metaloop-train",
        "-m",
        *SHORTER,
        "algorithm=maml,fomaml",
        "task.shots=5",
        cwd=tmp_path,
        env=environment,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    (sweep,) = (tmp_path / "outputs/multirun").iterdir()
    records = [run_record(p.parent) for p in sorted(sweep.glob("*/status.json"))]
    assert {record["run_group"] for record in records} == {sweep.name}
    assert {record["display_name"] for record in records} == {"algorithm=maml", "algorithm=fomaml"}
    assert {tuple(record["tags"]) for record in records} == {
        ("sinusoid", "maml"),
        ("sinusoid", "fomaml"),
    }
    ids = {record["run_id"] for record in records}
    assert len(ids) == 2
    assert "notforall" not in ids
