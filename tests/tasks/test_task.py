"""A user's own family of tasks: one class with one method, run by its name in a config."""

import json

import pytest
import torch

from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.write import write_run
from metaloop.run.train import train
from metaloop.tasks import ClassificationTask
from tests.conftest import SMALL, composed


class Blobs(ClassificationTask):
    """Three heaps of points in the plane, elsewhere in every task."""

    input_shape, output_size = (2,), 3

    def draw(self, split, streams):
        x = streams.uniform(3, 1, 2, low=-2, high=2) + 0.1 * streams.normal(3, 6, 2)
        labels = torch.arange(3)[:, None].expand(streams.episodes, 3, 6)
        support, query = (
            Examples(x[:, :, part].flatten(1, 2).float(), labels[:, :, part].flatten(1, 2))
            for part in (slice(0, 2), slice(2, 6))
        )
        return Episode(support, query, classes=torch.zeros(streams.episodes, 3, dtype=torch.int64))


def run(tmp_path, *changes):
    config = composed(*SMALL, *changes)
    config["task"] = {"_target_": f"{__name__}.Blobs"}
    return config, write_run(config, [], tmp_path, "run")


def test_a_classification_of_ones_own_is_learned_and_evaluated(tmp_path):
    steps = ("training.max_steps=60", "training.validate_every=60", "training.save_every=60")
    learning = ("algorithm.inner_lr=0.5", "algorithm.inner_steps=3", "optimizer.lr=0.01")
    _, folder = run(tmp_path, *steps, *learning, "data.meta_batch_size=16")
    train(folder)
    results = json.loads((folder.evaluations / "test" / "results.json").read_text())
    accuracy = results["metrics"]["accuracy"]["mean"]
    assert accuracy[0] < 0.6
    assert accuracy[-1] > 0.8
    assert results["protocol"]["task"] == "Blobs"


def test_metric_learning_takes_it_too(tmp_path):
    _, folder = run(tmp_path, "algorithm=prototypical", "training.max_steps=2")
    train(folder)
    assert (folder.evaluations / "test" / "results.json").exists()


def test_pretraining_asks_for_the_number_of_classes(tmp_path):
    config, folder = run(tmp_path, "algorithm=pretrain")
    build(RunConfig.of(config))
    with pytest.raises(UserError, match="the number of global class ids.* `classes`"):
        train(folder)
