"""The fastest way to compute is found by trying, and computes the same."""

import importlib

import pytest
import torch

from metaloop.algorithms import find_fastest, meta_gradient
from tests.algorithms.episodes import random_case


def tried(**left_open):
    algorithm, theta, episodes = random_case("mlp", tasks=6)
    said = []
    way = find_fastest(algorithm, theta, episodes, announce=said.append, **left_open)
    sizes = [int(line.split()[0]) for line in said if line.endswith("ms a meta-step")]
    return way, sizes


def test_powers_of_two_and_all_tasks_at_once_are_tried_and_one_of_them_wins():
    way, sizes = tried(tasks_at_once=None, compile=False)
    assert sizes == [1, 2, 4, 6]
    assert way.tasks_at_once in sizes
    assert not way.compile


def test_what_is_fixed_is_not_tried():
    way, sizes = tried(tasks_at_once=3, compile=False)
    assert sizes == [3]
    assert way == (3, False)


def test_a_layer_that_vmap_gets_wrong_is_tried_task_by_task_alone(recwarn):
    def norm(features):
        return torch.nn.BatchNorm2d(features, track_running_stats=False)

    algorithm, theta, episodes = random_case("conv", norm=norm)
    way = find_fastest(algorithm, theta, episodes, tasks_at_once=None, compile=False)
    assert way.tasks_at_once == 1


def test_trying_leaves_chance_and_parameters_as_they_were():
    algorithm, theta, episodes = random_case("mlp")
    before, state = {n: p.clone() for n, p in theta.items()}, torch.get_rng_state()
    find_fastest(algorithm, theta, episodes, tasks_at_once=None, compile=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(theta[n], before[n]) for n in theta)


def test_by_size_is_every_chunk_size_to_rounding(monkeypatch):
    algorithm, theta, episodes = random_case("mlp", tasks=5)
    expected, _ = meta_gradient(algorithm, theta, episodes)
    module = importlib.import_module("metaloop.algorithms.meta_gradient")  # not the function
    # 5 + 7 input numbers a task: all fit at once, then four, then fewer than are worth it
    for limit, sizes in ((60, [5]), (48, [3, 2]), (36, [1] * 5), (1, [1] * 5)):
        monkeypatch.setattr(module, "NUMBERS_AT_ONCE", limit)
        parts = module.chunks(episodes, "by_size")
        assert [len(part.classes) for part in parts] == sizes
        found, report = meta_gradient(algorithm, theta, episodes, tasks_at_once="by_size")
        assert report["query_loss"].shape == (5,)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize(
    ("network", "tasks", "sizes"),
    [("conv", 1, [1]), ("conv", 2, [1, 1]), ("conv", 3, [3]), ("mlp", 2, [2])],
)
def test_by_size_takes_two_tasks_of_images_one_by_one(network, tasks, sizes):
    _, _, episodes = random_case(network, tasks=tasks)
    parts = importlib.import_module("metaloop.algorithms.meta_gradient").chunks(episodes, "by_size")
    assert [len(part.classes) for part in parts] == sizes
