"""A run whose episodes differ in ways and shots trains, resumes, is judged and adapts."""

import csv
import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.learner import Learner
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from metaloop.run.evaluation.evaluate import evaluate
from metaloop.run.evaluation.other_task import fit_to_run
from metaloop.run.train import train
from metaloop.training.datamodule import draw, gather
from tests.run.stopped_runs import assert_same_weights, train_in_two_parts

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


def by_hand(config, learner, episodes):
    """Index, ways, shots and the query loss after two steps: of each test episode, one by one."""
    task = build(config).task
    task.setup()
    drawn = gather(task, draw(task, 0, "test", torch.arange(episodes)), torch.float64)
    for indices, group in drawn.groups:
        for t, index in enumerate(indices.tolist()):
            one = tree_map(lambda x, t=t: x[t], group)
            ways = len(one.classes)
            *_, phi = learner.algorithm.for_ways(ways).adapt(learner.meta, one.support, 2)
            logits = learner.algorithm.objective.predict(phi, one.query.inputs)[:, :ways]
            loss = F.cross_entropy(logits, one.query.targets)
            yield index, ways, len(one.support.targets) // ways, float(loss.detach())


def test_episodes_are_judged_by_their_own_classes_and_a_learner_adapts_to_fewer(make):
    folder = make("evaluation.episodes=20")
    train(folder)
    rows, results = judged(folder)
    assert (results["protocol"]["ways"], results["protocol"]["shots"]) == ("2..4", "1..3")
    config, learner = RunConfig.read(folder), Learner.load(folder.path)
    for index, ways, shots, loss in by_hand(config, learner, 20):
        row = rows[index]
        assert (int(row["ways"]), int(row["shots"])) == (ways, shots)
        assert float(row["query_loss_step_2"]) == pytest.approx(loss, rel=1e-9)
    assert (folder.evaluations / "test" / "confusion.png").exists()

    x, y = np.random.default_rng(1).normal(size=(9, 3)), ["a", "b", "c"] * 3
    probabilities = learner.adapt(x, y).predict_proba(x)
    assert probabilities.shape == (9, 3)
    assert probabilities.sum(1) == pytest.approx(1)

    # on episodes of fewer classes alone, all of one shape
    few = {"ways": 3, "shots": 2, "shape_block": 1}
    asked = config.changed(task=few, command="evaluate")
    config = fit_to_run(asked, config, folder)
    place = folder.evaluations / "few"
    place.mkdir()
    found = evaluate(build(config), folder, place, ["task.ways=3"])
    assert found["protocol"]["ways"] == 3
    losses = [loss for *_, loss in by_hand(config, learner, 20)]
    assert found["metrics"]["query_loss"]["mean"][2] == pytest.approx(np.mean(losses), rel=1e-9)


@pytest.mark.slow
def test_a_resumed_run_has_the_weights_of_one_that_was_never_stopped(make):
    straight, stopped = make(), make()
    train(straight)
    train_in_two_parts(stopped, stop_at=2)
    assert_same_weights(straight.last_checkpoint, stopped.last_checkpoint)
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
