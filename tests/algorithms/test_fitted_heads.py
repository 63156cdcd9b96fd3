"""Heads that are computed from the support set, beside the formulas of their papers."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.algorithms import R2D2, GradientBased, Prototypical, SquaredDistance, proto_maml
from metaloop.episode import Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, StepSize, TowardsTheta, Update
from metaloop.meta_gradient import adaptation_path, meta_gradient
from metaloop.models import MLP
from tests.episodes import exact_tasks_at_once, initial_meta, named, random_episodes, recipe
from tests.finite_difference import assert_meta_gradient_is_finite_difference

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


# Proto-MAML: Triantafillou et al. 2020


def of_prototypes(features, labels):
    means = torch.stack([features[labels == n].mean(0) for n in range(3)])
    return {"head.weight": 2 * means, "head.bias": -means.square().sum(1)}


def by_hand(model, theta, task, lr, steps, is_exact):
    """The query loss after descent from the prototypes, by plain autograd alone."""

    def loss(phi, examples):
        logits = torch.func.functional_call(model, phi, (examples.inputs,))
        return F.cross_entropy(logits, examples.targets)

    body = {n.removeprefix("body."): p for n, p in theta.items() if n.startswith("body.")}
    features = torch.func.functional_call(model.body, body, (task.support.inputs,))
    phi = {**theta, **of_prototypes(features, task.support.targets)}
    for _ in range(steps):
        phi = {n: p.view_as(p) for n, p in phi.items()}  # the head is no function of the body now
        slopes = torch.autograd.grad(loss(phi, task.support), list(phi.values()), create_graph=True)
        kept = slopes if is_exact else [g.detach() for g in slopes]
        phi = {n: p - lr * g for (n, p), g in zip(phi.items(), kept, strict=True)}
    return loss(phi, task.query)


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed", "first_order"])
def test_its_meta_gradient_is_that_of_maml_from_prototypes(adjoint):
    algorithm, episodes = recipe("proto_maml", classifier(4), adjoint), random_episodes("conv", 2)
    model, meta = algorithm.objective.model, initial_meta(algorithm)
    theta = {n: p.clone().requires_grad_() for n, p in meta.items()}
    exact = adjoint != "first_order"
    tasks = [task_of(episodes, t) for t in range(2)]
    losses = torch.stack([by_hand(model, theta, task, 0.05, 2, exact) for task in tasks])
    losses.mean().backward()
    for tasks_at_once in ("all", 1):
        found, report = meta_gradient(algorithm, meta, episodes, tasks_at_once=tasks_at_once)
        torch.testing.assert_close(report["query_loss"], losses.detach())
        for name, p in theta.items():
            expected = torch.zeros_like(p) if name.startswith("head") else p.grad
            torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-12)


def test_it_starts_as_a_prototypical_network_of_any_shots_predicts():
    objective, episodes = classifier(4), random_episodes("conv")
    labels = torch.tensor([0, 0, 0, 1, 1, 2]).expand(4, -1)
    uneven = episodes._replace(support=episodes.support._replace(targets=labels))
    found, expected = (
        adaptation_path(a, initial_meta(a), uneven, steps=1)["query_loss"]
        for a in (recipe("proto_maml", objective), Prototypical(objective))
    )
    torch.testing.assert_close(found[:, 0], expected[:, 1])
    assert (found[:, 1] != found[:, 0]).all()


def test_prototypes_are_of_the_norms_that_the_first_step_has():
    """The head starts where phi_0's own features are, whose scales differ from theta's."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(144, 4), nn.BatchNorm1d(4))
    model = named(body, nn.Linear(4, 3)).double()
    pieces = {"objective": Objective(model=model, loss=F.cross_entropy), "start": "prototypes"}
    steps = {"update": Update([StepSize(0.05)]), "inner_steps": 1, "eval_inner_steps": 1}
    algorithm = GradientBased(**pieces, **steps, per_step_norm=True)
    meta, episodes = initial_meta(algorithm), random_episodes("conv")
    meta["per_step.body.2.weight"] = torch.tensor([[2.0] * 4, [1.0] * 4], dtype=torch.float64)
    phi, _ = algorithm.adapt(meta, task_of(episodes).support, 1)
    normed = body(task_of(episodes).support.inputs)  # theta's scales are 1
    expected = of_prototypes(2 * normed, task_of(episodes).support.targets)
    torch.testing.assert_close(phi["head.weight"], expected["head.weight"].detach())
    assert_meta_gradient_is_finite_difference(algorithm, meta, episodes)


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        (
            {"outer_loss": SquaredDistance(), "adjoint": "first_order"},
            "With start=prototypes a task does not start at theta.*Use a query loss",
        ),
        (
            {"adjoint": "implicit", "cg_steps": 2, "update": Update([TowardsTheta(1.0)])},
            "starting at theta, so it does not fit start=prototypes.*adjoint=unrolled",
        ),
    ],
)
def test_pieces_that_take_theta_for_the_start_are_refused(pieces, says):
    pieces = {"update": Update([StepSize(0.1)]), **pieces}
    steps = {"inner_steps": 1, "eval_inner_steps": 1}
    with pytest.raises(UserError, match=says):
        GradientBased(objective=classifier(4), start="prototypes", **steps, **pieces)


def test_a_start_at_prototypes_asks_for_classes_and_a_linear_head():
    values = {"inner_lr": 0.1, "inner_steps": 1, "eval_inner_steps": 1, "part": "everything"}
    of_numbers = Objective(model=MLP(1, 1, hidden=[5]).double(), loss=F.mse_loss)
    algorithm = proto_maml(of_numbers, **values, adjoint="unrolled")
    with pytest.raises(UserError, match="Prototypes are means of classes"):
        list(algorithm.adapt(initial_meta(algorithm), task_of(random_episodes("mlp")).support, 1))
    headless = Objective(model=nn.Sequential(nn.Linear(1, 2)), loss=F.cross_entropy)
    with pytest.raises(UserError, match="start=prototypes replaces the model's `head`"):
        proto_maml(headless, **values, adjoint="unrolled")


# P>M>F: Hu et al. 2022


def test_the_baseline_meta_trains_as_prototypes_and_fine_tunes_as_proto_maml():
    objective, episodes = classifier(4), random_episodes("conv")
    baseline, plain = recipe("pmf", objective), Prototypical(objective)
    meta = initial_meta(baseline)
    found, expected = (meta_gradient(a, meta, episodes)[0] for a in (baseline, plain))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    tuned, adapted = (
        adaptation_path(a, meta, episodes, steps=3)["query_loss"]
        for a in (baseline, recipe("proto_maml", objective))
    )
    assert torch.equal(tuned, adapted)


def test_a_pretrained_network_may_be_fine_tuned_from_prototypes():
    objective, episodes = classifier(4), random_episodes("conv")
    pretrained = replace(recipe("pretrain", objective), start="prototypes")
    meta = initial_meta(pretrained)
    tuned, adapted = (
        adaptation_path(a, meta, episodes, steps=3)["query_loss"]
        for a in (pretrained, recipe("proto_maml", objective))
    )
    assert torch.equal(tuned, adapted)


def test_no_inner_step_from_theta_is_refused():
    steps = {"inner_steps": 0, "eval_inner_steps": 1}
    with pytest.raises(UserError, match="inner_steps=0 from theta adapts to nothing"):
        GradientBased(objective=classifier(4), update=Update([StepSize(0.1)]), **steps)


# what all of them keep

NAMES = ("prototypical", "proto_maml", "pmf", "r2d2")


@pytest.mark.parametrize("name", NAMES)
def test_the_meta_gradient_through_the_fit_is_the_finite_difference(name):
    algorithm, episodes = recipe(name, classifier(8)), random_episodes("conv")
    assert_meta_gradient_is_finite_difference(algorithm, initial_meta(algorithm), episodes)


@pytest.mark.parametrize("name", NAMES)
def test_the_preflight_check_finds_it_exact_with_all_tasks_at_once(name):
    algorithm, episodes = recipe(name, classifier(8)), random_episodes("conv")
    assert exact_tasks_at_once(algorithm, initial_meta(algorithm), episodes) == "all"


def test_predictions_of_several_calls_of_the_head_are_refused():
    def rollout(network, inputs):  # two steps, each from where the one before has led
        return network(inputs + network(inputs))

    objective = Objective(model=MLP(1, 1, hidden=[5]).double(), loss=F.mse_loss, forward=rollout)
    algorithm, task = recipe("r2d2", objective), task_of(random_episodes("mlp"))
    with pytest.raises(UserError, match=r"was given \[\(5, 5\), \(5, 5\)\]. Choose a task"):
        list(algorithm.adapt(initial_meta(algorithm), task.support, 1))
