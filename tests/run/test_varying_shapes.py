"""A run whose episodes differ in ways and shots trains, resumes, is judged and adapts."""

import csv
import json

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map

from metaloop.learner import Learner
from metaloop.run.config.build import build
from metaloop.run.config.read import load_config
from metaloop.run.config.write import rewrite_run
from metaloop.run.train import train
from metaloop.training.datamodule import draw, gather

SHAPES = ("task.ways=[2,4]", "task.shots=[1,3]", "task.queries=2", "task.shape_block=3")


@pytest.fixture
def make(make_run, tmp_path):
    """A run on blobs of 24 classes, in float64."""
    rows = np.random.default_rng(0).normal(size=(24, 6, 3)) + np.arange(24)[:, None, None] % 7
    labels = np.repeat(np.arange(24), 6)
    np.savez(tmp_path / "blobs.npz", features=rows.reshape(-1, 3), label=labels)

    def make(*overrides):
        source = ("task=arrays", f"task.data_dir={tmp_path}", "task.file=blobs.npz")
        small = ("model.hidden=[8]", "device.precision=64-true")
        steps = ("training.max_steps=4", "training.validate_every=2", "training.save_every=2")
        return make_run(*source, *SHAPES, *small, *steps, *overrides)

    return make


def judged(folder):
    place = folder.evaluations / "test"
    with (place / "episodes.csv").open() as file:
        return list(csv.DictReader(file)), json.loads((place / "results.json").read_text())


def test_episodes_are_judged_by_their_own_classes_and_a_learner_adapts_to_fewer(make):
    folder = make("evaluation.episodes=20")
    train(folder)
    rows, results = judged(folder)
    assert results["protocol"]["ways"] == "2..4"
    assert results["protocol"]["shots"] == "1..3"
    pieces = build(load_config(folder))
    pieces.task.setup()
    learner = Learner.load(folder.path)
    for indices, episodes in gather(
        pieces.task, draw(pieces.task, 0, "test", torch.arange(20)), torch.float64
    ).groups:
        for t, index in enumerate(indices.tolist()):
            task = tree_map(lambda x, t=t: x[t], episodes)
            ways = len(task.classes)
            *_, phi = learner.algorithm.for_ways(ways).adapt(learner.meta, task.support, 2)
            logits = learner.algorithm.objective.predict(phi, task.query.inputs)[:, :ways]
            loss = torch.nn.functional.cross_entropy(logits, task.query.targets)
            row = rows[index]
            assert (int(row["ways"]), int(row["shots"])) == (
                ways,
                len(task.support.targets) // ways,
            )
            assert float(row["query_loss_step_2"]) == pytest.approx(float(loss), rel=1e-9)
    x, y = np.random.default_rng(1).normal(size=(9, 3)), ["a", "b", "c"] * 3
    probabilities = learner.adapt(x, y).predict_proba(x)
    assert probabilities.shape == (9, 3)
    assert probabilities.sum(1) == pytest.approx(1)
    pictures = {path.name for path in (folder.evaluations / "test").glob("*.png")}
    assert {"adaptation_curve.png", "confusion.png"} <= pictures


@pytest.mark.slow
def test_a_resumed_run_has_the_weights_of_one_that_was_never_stopped(make):
    straight, stopped = make(), make()
    train(straight)
    config = load_config(stopped)
    rewrite_run(stopped, {**config, "training": {**config["training"], "max_steps": 2}}, [], [])
    train(stopped)
    rewrite_run(stopped, config, [], [])
    train(stopped)
    one, other = (
        torch.load(folder.last_checkpoint, weights_only=True)["state_dict"]
        for folder in (straight, stopped)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert judged(straight)[0] == judged(stopped)[0]


@pytest.mark.slow
def test_evaluating_more_tasks_at_once_or_uneven_shots_works(make):
    few, many = make("data.eval_meta_batch_size=3"), make("data.eval_meta_batch_size=50")
    train(few)
    train(many)
    for one, other in zip(judged(few)[0], judged(many)[0], strict=True):
        assert [float(v) for v in one.values()] == pytest.approx(
            [float(v) for v in other.values()], rel=1e-9, nan_ok=True
        )
    uneven = make("task.uneven_shots=true", "training.max_steps=2")
    train(uneven)
    (row, *_), _ = judged(uneven)
    assert len(row["shots"].split()) == int(row["ways"])
