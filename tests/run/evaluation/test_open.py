"""An evaluation of an open interval: disjoint episodes, and an interval that is named."""

import csv
import json

import numpy as np
import pytest

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.build import build
from metaloop.run.config.read import load_config
from metaloop.run.config.run_config import RunConfig
from metaloop.run.evaluation.evaluate import warn_of_few_episodes
from metaloop.run.evaluation.results import read_results
from metaloop.run.worker import work
from tests.conftest import run_command

ROWS = 12


@pytest.fixture
def own(tmp_path):
    """A file of 15 classes of 12 rows, three of them for test."""
    labels = np.repeat([f"class {c:02}" for c in range(15)], ROWS)
    features = np.random.default_rng(0).normal(size=(len(labels), 2))
    np.savez(tmp_path / "own.npz", features=features, label=labels)
    return ("task=arrays", f"task.data_dir={tmp_path}", "task.file=own.npz", "task.ways=3")


@pytest.fixture
def run(untrained, own):
    return untrained(*own, "task.queries=2")


@pytest.mark.slow
def test_two_processes_judge_the_disjoint_episodes_of_one(own, tmp_path):
    shared = (*own, "task.queries=3", "training.max_steps=2", "data.meta_batch_size=2")
    exact = ("evaluation.interval=open", "device.precision=64-true", "logger=csv")
    two = ("device=ddp", "device.accelerator=cpu", "device.devices=2")
    tables = []
    for device in (("device=cpu",), two):
        folder = tmp_path / str(len(tables))
        done = run_command("metaloop-train", *shared, *device, *exact, f"output_dir={folder}")
        assert done.returncode == 0, done.stdout + done.stderr
        (table,) = folder.glob("*/evaluations/test/episodes.csv")
        tables.append(list(csv.DictReader(table.read_text().splitlines())))
    one, both = tables
    assert len(one) == ROWS // (1 + 3)  # odd: one process has an episode more
    for row, other in zip(one, both, strict=True):
        assert other["support"] == row["support"]
        assert float(other["query_loss_step_1"]) == pytest.approx(float(row["query_loss_step_1"]))


def test_an_evaluation_judges_disjoint_episodes_and_names_its_interval(run, said, capsys):
    change = "evaluation.interval=open"
    said("evaluate", str(run.path), change, "evaluation.episodes=600", "compose_only=true")
    (folder,) = run.evaluations.iterdir()
    assert "interval=open" in folder.name
    assert work([str(folder)]) == 0
    results = json.loads((folder / "results.json").read_text())
    assert results["protocol"]["interval"] == "open"
    assert results["protocol"]["episodes"] == results["episodes"] == ROWS // 3
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{ROWS // 3} test episodes, mean and open 95 % interval" in printed
    require_calibration(folder, results, printed)
    assert "open: over episodes that share no example" in printed
    table = list(csv.DictReader((folder / "episodes.csv").read_text().splitlines()))
    used = [n for row in table for name in ("support", "query") for n in row[name].split()]
    assert len(used) == len(set(used)) == 3 * ROWS  # all rows of the three classes
    classes = {int(n) for row in table for n in row["classes"].split()}
    assert {f"class {c:02}" for c in classes} == set(results["classes"])
    assert {int(n) // ROWS for n in used} == classes  # rows are numbered as in the file
    # four values: Student's 0.975 quantile of 3 degrees is 3.1824
    accuracy = [float(row["accuracy_step_1"]) for row in table]
    width = 3.1824 * np.std(accuracy, ddof=1) / 2
    assert results["metrics"]["accuracy"]["ci95"][1] == pytest.approx(width, rel=1e-4)
    assert read_results(RunFolder(run.path), folder.name).interval == "open"


def require_calibration(folder, results, printed):
    """Each query example counts once, in results.json, in the picture and on the screen."""
    metrics, calibration = results["metrics"], results["calibration"]
    assert sum(calibration["bins"]["examples"]) == results["episodes"] * 3 * 2
    assert 0 < calibration["expected_calibration_error"]["mean"] < 1
    assert metrics["nll"]["mean"] == pytest.approx(metrics["query_loss"]["mean"])
    assert 0 < metrics["brier"]["mean"][-1] < 2
    assert "expected calibration error" in printed
    assert f"Brier score {metrics['brier']['mean'][-1]:.4f}" in printed
    assert (folder / "reliability.png").is_file()


def test_a_run_from_before_there_were_open_intervals_has_a_closed_one_and_can_have_both(run, said):
    config = load_config(run)
    del config["evaluation"]["interval"]
    assert RunConfig.of(config).evaluation.interval == "closed"
    assert "interval" in said("evaluate", str(run.path), "--cfg", "job").out


def test_a_split_too_small_is_refused_before_training(make_run, tmp_path):
    np.savez(tmp_path / "own.npz", features=np.zeros((75, 2)), label=np.repeat(np.arange(15), 5))
    own = ("task=arrays", f"task.data_dir={tmp_path}", "task.file=own.npz", "task.ways=3")
    folder = make_run(*own, "task.queries=2", "evaluation.interval=open")
    data = build(RunConfig.read(folder)).datamodule
    data.prepare_data()
    with pytest.raises(UserError, match=r"the test split of ArrayClasses has enough for 1\. Lower"):
        data.setup("fit")


def test_few_episodes_draw_a_warning_where_there_could_be_more(run, capsys):
    warn_of_few_episodes(RunConfig.read(run).evaluation)
    assert "is below 600" in capsys.readouterr().err
