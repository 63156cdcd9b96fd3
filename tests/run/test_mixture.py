"""A run on several sources is judged on each and on all, and resumes, evaluates and adapts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from metaloop.cli.train import resolve_paths
from metaloop.learner import Learner
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.build import build
from metaloop.run.config.read import load_config
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.write import write_run
from metaloop.run.train import train
from tests.conftest import SMALL, composed
from tests.run.stopped_runs import assert_same_weights, train_in_two_parts


@pytest.fixture
def make(tmp_path):
    """A run on two files of blobs, of three ways and of two."""
    generator = np.random.default_rng(0)
    for name in ("near", "far"):
        rows = generator.normal(size=(20, 5, 2)) + np.arange(20)[:, None, None] % 7
        np.savez(tmp_path / f"{name}.npz", features=rows.reshape(-1, 2), label=np.arange(100) // 5)
    node = composed(*SMALL, "task=arrays")["task"]
    common = {**node, "data_dir": str(tmp_path), "queries": 2}
    of = {
        "near": {**common, "file": "near.npz", "ways": 3},
        "far": {**common, "file": "far.npz", "ways": 2, "shots": 2},
    }
    task = {"_target_": "metaloop.Mixture", "of": of, "weights": None, "shape_block": 2}

    def make_run():
        steps = ("training.max_steps=4", "training.validate_every=2", "training.save_every=2")
        shown = (*SMALL, *steps, "model.hidden=[8]", "evaluation.episodes=20")
        return write_run({**composed(*shown), "task": task}, [], tmp_path / "outputs", "run")

    return make_run


def test_a_run_is_judged_on_each_source_and_on_all_and_keeps_what_it_found(make, tmp_path, capsys):
    folder = make()
    train(folder)
    place = folder.evaluations / "test"
    with (place / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    results = json.loads((place / "results.json").read_text())
    for source in ("near", "far"):
        of_source = results["by_source"][source]
        mine = [float(r["accuracy_step_1"]) for r in rows if r["source"] == source]
        assert of_source["episodes"] == len(mine) > 0
        assert of_source["metrics"]["accuracy"]["mean"][1] == pytest.approx(np.mean(mine))
    whole = [float(r["accuracy_step_1"]) for r in rows]
    assert results["metrics"]["accuracy"]["mean"][1] == pytest.approx(np.mean(whole))
    assert results["protocol"]["near.ways"] == 3
    assert "By source" in capsys.readouterr().out
    logged = read_rows(folder.metrics)
    assert any(row.get("val/far/accuracy") for row in logged)
    with (place / "confusion.csv").open() as file:
        named = {row["class"].partition(": ")[0] for row in csv.DictReader(file)}
    assert named == {"near", "far"}

    # the folder alone is enough to adapt: what the sources' files said stands in its config
    of = load_config(folder)["task"]["of"]
    assert {name: (node["input_shape"], node["classes"]) for name, node in of.items()} == {
        "near": ([2], 20),
        "far": ([2], 20),
    }
    for file in tmp_path.glob("*.npz"):
        file.unlink()
    x = np.random.default_rng(1).normal(size=(4, 2))
    assert Learner.load(folder.path).adapt(x, ["a", "b"] * 2).predict_proba(x).shape == (4, 2)


@pytest.mark.slow
def test_a_resumed_run_has_the_weights_of_one_that_was_never_stopped(make):
    straight, stopped = make(), make()
    train(straight)
    train_in_two_parts(stopped, stop_at=2)
    assert_same_weights(straight.last_checkpoint, stopped.last_checkpoint)


def test_a_file_of_ones_own_names_sources_of_any_group_and_its_model(tmp_path):
    mine = tmp_path / "task" / "both.yaml"
    mine.parent.mkdir()
    sources = {"one": {"ways": 3, "data_dir": "one"}, "two": {"ways": 4, "data_dir": "~/two"}}
    mixture = {"_target_": "metaloop.Mixture", "of": sources, "weights": None, "shape_block": 1}
    defaults = ["omniglot@of.one", "omniglot@of.two", "_self_"]
    mine.write_text(yaml.safe_dump({"defaults": defaults, **mixture}))
    config = composed(f"hydra.searchpath=[file://{tmp_path}]", "task=both")
    pieces = build(RunConfig.of(config))
    assert type(pieces.algorithm.objective.model).__name__ == "Conv4"
    assert (pieces.task.output_size, pieces.algorithm.objective.ways) == (4, 4)
    of = resolve_paths({**config, "init_from": None})["task"]["of"]
    assert of["one"]["data_dir"] == str(Path.cwd() / "one")
    assert of["two"]["data_dir"] == str(Path.home() / "two")
