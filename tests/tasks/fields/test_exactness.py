"""The meta-gradient of fields is exact: every network, vectorised, and in long inner loops."""

import pytest
import torch

from metaloop.algorithms import maml
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient
from metaloop.models import FourierFeatures, Siren
from tests.finite_difference import assert_meta_gradient_is_finite_difference
from tests.tasks.fields.fields import episodes, field, waves

NETWORKS = {
    "siren": lambda: Siren(2, 1, hidden=[6, 5], w0=5.0),
    "fourier_features": lambda: FourierFeatures(2, 1, features=4, scale=1.0, hidden=[6, 5]),
}


def case(name, steps, adjoint="unrolled"):
    torch.manual_seed(0)
    task = field(waves(), shots=9)
    objective = Objective(model=NETWORKS[name]().double(), loss=task.loss, metrics=task.metrics)
    sizes = {"inner_lr": 0.05, "inner_steps": steps, "eval_inner_steps": steps}
    algorithm = maml(objective, **sizes, adjoint=adjoint)
    meta = {n: p.detach() for n, p in objective.meta_parameters().items()}
    return algorithm, meta, episodes(task, count=3)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_vectorised_meta_gradient_is_that_of_the_loop_and_the_slope(name):
    algorithm, meta, batch = case(name, steps=2)
    vectorised, _ = meta_gradient(algorithm, meta, batch)
    one_by_one, _ = meta_gradient(algorithm, meta, batch, tasks_at_once=1)
    for n, value in one_by_one.items():
        torch.testing.assert_close(vectorised[n], value, rtol=1e-9, atol=1e-12)
    assert_meta_gradient_is_finite_difference(algorithm, meta, batch)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_long_inner_loop_recomputed_has_the_unrolled_gradient(name):
    unrolled, meta, batch = case(name, steps=12)
    recomputed, _, _ = case(name, steps=12, adjoint="recomputed")
    expected, _ = meta_gradient(unrolled, meta, batch)
    found, _ = meta_gradient(recomputed, meta, batch)
    for n, value in expected.items():
        torch.testing.assert_close(found[n], value, rtol=1e-9, atol=1e-12)
