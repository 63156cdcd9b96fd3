"""Intervals for fresh examples of the same classes: a closed one is too narrow, an open one holds.

A learner of nearest centroids is judged on 500 data sets of the same eight classes, points around
places on a circle. What it reaches on such data is the mean over all of them.
"""

import math

import pytest
import torch

from metaloop.tasks import RowClasses
from metaloop.training.datamodule import EpisodicDataModule, gather
from metaloop.training.estimate import estimate

CLASSES, EXAMPLES, WAYS, SHOTS, QUERIES = 8, 40, 3, 1, 3
SEEDS, TOGETHER = 25, 20  # data sets of one seed are judged together, an input a point in each


def task_of(seed):
    labels = torch.arange(CLASSES).repeat_interleave(EXAMPLES)
    angle = labels * (2 * math.pi / CLASSES)
    places = torch.stack([angle.cos(), angle.sin()], 1)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(labels), TOGETHER, 2, generator=generator, dtype=torch.float64)
    task = RowClasses(ways=WAYS, shots=SHOTS, queries=QUERIES)
    task.splits = ("test",)
    split = {"train": [], "validation": [], "test": range(CLASSES)}
    task.open_rows(places[:, None] + 0.6 * noise, labels, list("abcdefgh"), split, "points")
    return task


def judge(task, seed, interval):
    """The accuracy of each episode of a test on each data set, [episodes, TOGETHER]."""
    data = EpisodicDataModule(
        task,
        seed=seed,
        meta_batch_size=1,
        eval_meta_batch_size=200,
        test_episodes=200,
        test_interval=interval,
    )
    data.setup("test")
    (batch,) = [gather(task, drawn, torch.float64) for drawn in data.test_dataloader()]
    support, query, _ = batch.episodes
    centroids = support.inputs.unflatten(1, (WAYS, SHOTS)).mean(2)
    distances = torch.cdist(*(points.transpose(1, 2) for points in (query.inputs, centroids)))
    return (distances.argmin(3) == query.targets[:, None]).double().mean(2)


@pytest.fixture(scope="module")
def judged():
    """The estimates on all data sets, of each kind of interval."""
    tasks = [task_of(seed) for seed in range(SEEDS)]
    return {
        interval: [estimate(judge(task, seed, interval)) for seed, task in enumerate(tasks)]
        for interval in ("closed", "open")
    }


@pytest.mark.parametrize(
    ("interval", "least", "most"), [("closed", 0.0, 0.85), ("open", 0.93, 0.97)]
)
def test_coverage_of_fresh_examples_in_500_data_sets(judged, interval, least, most):
    reached = torch.cat([each.mean for each in judged["closed"]]).mean()
    off = torch.cat([(each.mean - reached).abs() - each.half_width for each in judged[interval]])
    assert len(off) == 500
    assert least <= (off <= 0).double().mean() <= most
