"""Heads that are computed from the support set, beside the formulas of their papers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.algorithms import R2D2
from metaloop.episode import Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient
from metaloop.models import MLP
from tests.algorithms.test_contract import mean_meta_loss, slope
from tests.episodes import exact_tasks_at_once, initial_meta, named, random_episodes, recipe

STRENGTH, SCALE, SHIFT = 0.5, 3.0, 0.25


def classifier(features: int) -> Objective:
    """Six support examples: with two features they are more, with eight fewer."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(144, features), nn.Tanh())
    return Objective(model=named(body, nn.Linear(features, 3)).double(), loss=F.cross_entropy)


def task_of(episodes, t=0):
    return tree_map(lambda x: x[t], episodes)


def ridge(x, y, strength):
    """(X^T X + n lambda)^-1 X^T Y of features with a one appended: weight and bias in one."""
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    penalty = len(x) * strength * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.linalg.inv(x.T @ x + penalty) @ x.T @ y


def affine(x, solution):
    return x @ solution[:-1] + solution[-1]


# R2-D2: Bertinetto et al. 2019, section 3.2


@pytest.mark.parametrize("features", [2, 8])
@pytest.mark.parametrize("shots", [(2, 2, 2), (3, 2, 1)])
def test_the_logits_are_a_scaled_ridge_regression_on_one_hot_labels(features, shots):
    algorithm = R2D2(classifier(features), strength=STRENGTH, scale=SCALE)
    task, body = task_of(random_episodes("conv")), algorithm.objective.model.body
    support = Examples(task.support.inputs, torch.arange(3).repeat_interleave(torch.tensor(shots)))
    meta = {**initial_meta(algorithm), "ridge.shift": torch.tensor(SHIFT, dtype=torch.float64)}
    first, fitted, last = algorithm.adapt(meta, support, 2)
    solution = ridge(body(support.inputs), F.one_hot(support.targets).double(), STRENGTH)
    expected = SCALE * affine(body(task.query.inputs), solution) + SHIFT
    torch.testing.assert_close(algorithm.objective.predict_query(fitted, task), expected)
    assert all(torch.equal(first[name], p) for name, p in meta.items() if name in first)
    assert all(torch.equal(last[name], p) for name, p in fitted.items())  # one step is all


@pytest.mark.parametrize("features", [2, 8])
def test_its_meta_gradient_is_that_of_the_formula_in_theta_lambda_alpha_and_beta(features):
    algorithm = R2D2(classifier(features), strength=STRENGTH, scale=SCALE)
    episodes, body = random_episodes("conv", tasks=2), algorithm.objective.model.body
    meta = initial_meta(algorithm)
    own = {n: meta[n].clone().requires_grad_() for n in meta if n.startswith("ridge.")}
    losses = []
    for t in range(2):
        task = task_of(episodes, t)
        labels = F.one_hot(task.support.targets).double()
        solution = ridge(body(task.support.inputs), labels, own["ridge.log_strength"].exp())
        logits = own["ridge.scale"] * affine(body(task.query.inputs), solution)
        losses.append(F.cross_entropy(logits + own["ridge.shift"], task.query.targets))
    torch.stack(losses).mean().backward()
    expected = {**own, **{f"body.{name}": p for name, p in body.named_parameters()}}
    for tasks_at_once in ("all", 1):
        found, _ = meta_gradient(algorithm, meta, episodes, tasks_at_once=tasks_at_once)
        for name, p in expected.items():
            torch.testing.assert_close(found[name], p.grad, rtol=1e-9, atol=1e-12)
        assert not found["head.weight"].any()  # another is in its place


def test_a_regressions_outputs_are_plain_ridge_regression():
    objective = Objective(model=MLP(1, 1, hidden=[5]).double(), loss=F.mse_loss)
    algorithm = R2D2(objective, strength=STRENGTH, scale=SCALE)
    episodes, meta = random_episodes("mlp"), initial_meta(algorithm)
    task, body = task_of(episodes), objective.model.body
    _, fitted = algorithm.adapt(meta, task.support, 1)
    solution = ridge(body(task.support.inputs), task.support.targets, STRENGTH)
    expected = affine(body(task.query.inputs), solution)
    torch.testing.assert_close(objective.predict_query(fitted, task), expected)
    gradient, _ = meta_gradient(algorithm, meta, episodes)
    assert gradient["ridge.log_strength"].any()
    assert not gradient["ridge.scale"].any()


def test_half_precision_solves_in_full():
    objective = Objective(model=MLP(1, 1, hidden=[5]), loss=F.mse_loss)
    algorithm = R2D2(objective, strength=STRENGTH, scale=SCALE)
    task = tree_map(torch.Tensor.float, task_of(random_episodes("mlp")))
    with torch.autocast("cpu", torch.bfloat16):
        _, fitted = algorithm.adapt(initial_meta(algorithm), task.support, 1)
        features = objective.model.body(task.support.inputs).float()
    expected = ridge(features, task.support.targets, STRENGTH)[:-1].T
    torch.testing.assert_close(fitted["head.weight"], expected, rtol=2e-2, atol=2e-2)
    assert fitted["head.weight"].dtype is torch.float32


# what all of them keep


@pytest.mark.parametrize("name", ["prototypical", "r2d2"])
def test_the_meta_gradient_through_the_fit_is_the_finite_difference(name):
    algorithm, episodes = recipe(name, classifier(8)), random_episodes("conv")
    meta = initial_meta(algorithm)
    gradient, _ = meta_gradient(algorithm, meta, episodes)
    measured, expected = slope(mean_meta_loss(algorithm, episodes), meta, gradient)
    torch.testing.assert_close(expected, measured, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["prototypical", "r2d2"])
def test_the_preflight_check_finds_it_exact_with_all_tasks_at_once(name):
    algorithm, episodes = recipe(name, classifier(8)), random_episodes("conv")
    assert exact_tasks_at_once(algorithm, initial_meta(algorithm), episodes) == "all"


def test_a_network_whose_outputs_are_not_its_heads_is_refused():
    class Doubled(nn.Sequential):
        def forward(self, x):
            return torch.cat([super().forward(x)] * 2, 1)

    model = Doubled()
    model.add_module("head", nn.Linear(1, 1))
    algorithm = recipe("r2d2", Objective(model=model.double(), loss=F.mse_loss))
    task = task_of(random_episodes("mlp"))
    with pytest.raises(UserError, match=r"given 1 features.*predictions of shape \(5, 2\)"):
        list(algorithm.adapt(initial_meta(algorithm), task.support, 1))
