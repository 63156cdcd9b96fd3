"""A graph agrees with the eager gradient if rounding explains the difference, and nothing less."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.algorithms import maml
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient
from metaloop.meta_gradient.graph_check import agree
from metaloop.process.products import keep_rounding
from tests.episodes import initial_meta, random_episodes


def case(dtype=torch.float32):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)).to(dtype)
    objective = Objective(model=model, loss=F.mse_loss)
    steps = {"inner_steps": 2, "eval_inner_steps": 2}
    algorithm = maml(objective, inner_lr=0.05, **steps, adjoint="unrolled")
    return (
        algorithm,
        initial_meta(algorithm),
        tree_map(lambda t: t.to(dtype), random_episodes("mlp")),
    )


def gradient_of(algorithm, scale=1.0):
    def compute(meta, chunk, scheduled):
        gradient, report = meta_gradient(algorithm, meta, chunk)
        return {n: scale * g for n, g in gradient.items()}, report

    return compute


@pytest.mark.parametrize(
    ("dtype", "scale", "agrees"),
    [
        (torch.float32, 1 + 1e-4, True),
        (torch.float32, 1.01, False),
        (torch.float64, 1 + 1e-10, True),
        (torch.float64, 1 + 1e-6, False),
    ],
)
def test_in_full_precision_the_tolerance_is_that_of_the_type(dtype, scale, agrees):
    algorithm, meta, episodes = case(dtype)
    eager, graph = gradient_of(algorithm), gradient_of(algorithm, scale)
    assert agree(graph, eager, meta, episodes, ()) == agrees


def test_in_half_precision_a_graph_may_round_as_eager_does_but_not_lose_the_second_order():
    algorithm, meta, episodes = case()
    eager, first_order = map(gradient_of, (algorithm, replace(algorithm, adjoint="first_order")))

    def in_full(*inputs):
        with torch.autocast("cpu", enabled=False):
            return eager(*inputs)

    with torch.autocast("cpu", torch.bfloat16):
        assert agree(in_full, eager, meta, episodes, ())
        assert not agree(first_order, eager, meta, episodes, ())
    assert not agree(first_order, eager, meta, episodes, ())


def test_what_torch_may_round_is_as_it_was_before():
    algorithm, meta, episodes = case()
    with keep_rounding():
        torch.set_float32_matmul_precision("high")
        assert agree(gradient_of(algorithm), gradient_of(algorithm), meta, episodes, ())
        assert torch.get_float32_matmul_precision() == "high"
