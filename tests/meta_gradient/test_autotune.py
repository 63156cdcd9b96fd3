"""The fastest way to compute is found by trying, and computes the same."""

import importlib

import pytest
import torch
from torch.nn import functional as F

from metaloop.inner_loop import Objective
from metaloop.meta_gradient import Way, find_fastest, meta_gradient
from metaloop.models import MLP
from tests.episodes import make, random_case, random_episodes


def tried(**left_open):
    objective = Objective(model=MLP(1, 1, hidden=[8]).double(), loss=F.mse_loss)
    algorithm, episodes = make("maml", objective, 0.1, 2), random_episodes("mlp", tasks=6)
    theta = objective.meta_parameters()
    said = []
    way = find_fastest(algorithm, theta, episodes, announce=said.append, **left_open)
    return way, [line.partition(": ")[0] for line in said if line.endswith("ms per meta-step")]


def test_powers_of_two_and_all_tasks_at_once_are_timed():
    way, found = tried(tasks_at_once=None, chunks_at_once=1, compile=False)
    sizes = [int(line.split()[0]) for line in found]
    # no further once the last were much slower
    assert sizes == [1, 2, 4, 6][: len(sizes)]
    assert len(sizes) > 1
    assert way.tasks_at_once in sizes
    assert not way.compile


def test_numbers_of_tasks_are_compared_at_the_same_number_of_chunks():
    one, other = Way(1, 4, compile=False), Way(2, 1, compile=False)
    # four chunks may be four times as fast as one, whatever the number of tasks
    assert not one.is_neighbour(other)
    assert one.is_neighbour(Way(1, 2, compile=False))
    assert other.is_neighbour(Way(1, 1, compile=False))


def test_what_is_fixed_is_not_tried():
    way, found = tried(tasks_at_once=3, chunks_at_once=1, compile=False)
    assert found == ["3 tasks at once"]
    assert way == (3, 1, False)


def test_as_many_chunks_are_tried_as_there_are_and_threads():
    torch.set_num_threads(3)
    for size, expected in ((1, [1, 2, 3]), (3, [1, 2]), (6, [1])):
        way, found = tried(tasks_at_once=size, chunks_at_once=None, compile=False)
        chunks = ["", ", 2 chunks", ", 3 chunks"][: len(expected)]
        # no further once the last were much slower
        assert found == [f"{size} tasks at once{which}" for which in chunks][: len(found)]
        assert len(found) >= min(2, len(expected))
        assert way.chunks_at_once in expected


def test_a_layer_that_vmap_gets_wrong_is_only_tried_task_by_task(recwarn):
    class Hidden(torch.nn.BatchNorm2d):
        """Somebody's own norm, whose function no substitute sees."""

        def forward(self, x):
            with torch._C.DisableTorchFunction():
                return super().forward(x)

    algorithm, theta, episodes = random_case(
        "conv", norm=lambda features: Hidden(features, track_running_stats=False)
    )
    way = find_fastest(
        algorithm, theta, episodes, tasks_at_once=None, chunks_at_once=1, compile=False
    )
    assert way.tasks_at_once == 1


def test_timing_keeps_the_random_state_and_parameters():
    algorithm, theta, episodes = random_case("mlp")
    before, state = {n: p.clone() for n, p in theta.items()}, torch.get_rng_state()
    find_fastest(algorithm, theta, episodes, tasks_at_once=None, chunks_at_once=1, compile=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(theta[n], before[n]) for n in theta)


def test_by_size_is_every_chunk_size_to_rounding(monkeypatch):
    algorithm, theta, episodes = random_case("mlp", tasks=5)
    expected, _ = meta_gradient(algorithm, theta, episodes)
    module = importlib.import_module("metaloop.meta_gradient.chunks")
    # 5 + 7 input numbers a task: all fit at once, then four, then fewer than are worth it
    for limit, sizes in ((60, [5]), (48, [3, 2]), (36, [1] * 5), (1, [1] * 5)):
        monkeypatch.setattr(module, "ELEMENTS_AT_ONCE", limit)
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
    parts = importlib.import_module("metaloop.meta_gradient.chunks").chunks(episodes, "by_size")
    assert [len(part.classes) for part in parts] == sizes
