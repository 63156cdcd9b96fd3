"""The implicit adjoint is exact at the minimum, and says how far from it the numbers are."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.algorithms import GradientBased, MultiStepLoss, imaml
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import (
    LearnedStepSize,
    Momentum,
    Newton,
    Objective,
    StepSize,
    TowardsTheta,
    Update,
)
from metaloop.meta_gradient import meta_gradient
from tests.episodes import initial_meta, named, random_episodes, reference_case
from tests.peak import Peak


class LateMomentum(Momentum):
    """Small steps into the nearest valley, then momentum to its bottom."""

    def __call__(self, direction, memory, moment):
        if moment.step < 400:
            return direction, memory
        return super().__call__(direction, memory, moment)


def proximal(objective, strength, steps, cg_steps, **pieces):
    chain = [TowardsTheta(strength), LateMomentum(0.9), StepSize(0.02)]
    return GradientBased(
        objective=objective,
        update=Update(chain),
        adjoint="implicit",
        inner_steps=steps,
        eval_inner_steps=1,
        cg_steps=cg_steps,
        **pieces,
    )


def distance(one, other):
    norm = torch.stack([g.norm() for g in other.values()]).norm()
    return float(max((one[n] - g).norm() / norm for n, g in other.items()))


@pytest.mark.parametrize("tasks_at_once", [2, "all"])
def test_at_the_minimum_it_is_the_reference(reference, tasks_at_once):
    maml, meta, episodes, _ = reference_case(reference, "mlp", "maml")
    expected = {n: torch.from_numpy(reference[f"mlp/imaml/theta/{n}"]) for n in meta}
    strength = float(reference["mlp/imaml/input_strength"])
    algorithm = proximal(maml.objective, strength, steps=1200, cg_steps=80)
    found, report = meta_gradient(algorithm, meta, episodes, tasks_at_once=tasks_at_once)
    assert report["cg_residual"].max() < 1e-12
    assert report["proximal_gradient"].max() < 1e-12
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10)
    loss = float(reference["mlp/imaml/loss"])
    assert float(report["query_loss"].mean()) == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize(("steps", "cg_steps"), [(1200, 10), (1200, 20), (600, 80)])
def test_away_from_the_minimum_the_report_bounds_the_error(reference, steps, cg_steps):
    maml, meta, episodes, _ = reference_case(reference, "mlp", "maml")
    expected = {n: torch.from_numpy(reference[f"mlp/imaml/theta/{n}"]) for n in meta}
    strength = float(reference["mlp/imaml/input_strength"])
    algorithm = proximal(maml.objective, strength, steps, cg_steps)
    found, report = meta_gradient(algorithm, meta, episodes)
    reported = float(report["cg_residual"].max() + report["proximal_gradient"].max())
    assert 1e-7 < distance(found, expected) < 200 * reported


def ridge(part="everything"):
    """A linear model: its minimum is known in closed form."""
    torch.manual_seed(0)
    model = named(nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False)).double()
    objective = Objective(model=model, loss=F.mse_loss)
    return proximal(objective, 0.7, steps=2000, cg_steps=10, part=part)


def numbers():
    generator = torch.Generator().manual_seed(3)
    parts = [torch.randn(2, n, k, generator=generator).double() for n in (4, 6) for k in (3, 1)]
    return Episode(Examples(*parts[:2]), Examples(*parts[2:]), torch.zeros(2, 0))


def test_a_part_that_does_not_adapt_gets_the_implicit_gradient():
    algorithm, episodes = ridge("head"), numbers()
    meta = {n: p.clone().requires_grad_() for n, p in initial_meta(algorithm).items()}

    def solved(task):
        # min_h |X B' h - y|^2 / S + 0.35 |h - h_0|^2, a linear system
        body, head = meta["body.weight"], meta["head.weight"][0]
        support, query = ([part[task] for part in e] for e in (episodes.support, episodes.query))
        features = support[0] @ body.T
        left = 2 * features.T @ features / 4 + 0.7 * torch.eye(2, dtype=torch.float64)
        right = 2 * features.T @ support[1][:, 0] / 4 + 0.7 * head
        best = torch.linalg.solve(left, right)
        return F.mse_loss((query[0] @ body.T @ best)[:, None], query[1])

    loss = (solved(0) + solved(1)) / 2
    expected = dict(zip(meta, torch.autograd.grad(loss, list(meta.values())), strict=True))
    found, report = meta_gradient(algorithm, meta, episodes)
    assert float(report["query_loss"].mean()) == pytest.approx(float(loss.detach()), rel=1e-9)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10)


def test_newton_steps_reach_the_same_minimum():
    algorithm, episodes = ridge("head"), numbers()
    newton = imaml(
        algorithm.objective,
        inner_lr=1.0,
        inner_steps=1,  # the problem is quadratic
        eval_inner_steps=1,
        strength=0.7,
        cg_steps=10,
        hessian_free_steps=5,
    )
    newton = replace(newton, part="head")
    meta = initial_meta(algorithm)
    expected, _ = meta_gradient(algorithm, meta, episodes)
    found, report = meta_gradient(newton, meta, episodes)
    assert report["proximal_gradient"].max() < 1e-10
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10)


def test_a_newton_step_can_be_unrolled_too():
    algorithm, episodes = ridge("head"), numbers()
    chain = [TowardsTheta(0.7), Newton(0.7, 5), StepSize(1.0)]
    pieces = {"update": Update(chain), "cg_steps": None, "inner_steps": 1}
    meta = initial_meta(algorithm)
    expected, _ = meta_gradient(algorithm, meta, episodes)  # one Newton step is at the minimum
    found, _ = meta_gradient(replace(algorithm, adjoint="unrolled", **pieces), meta, episodes)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10)
    with pytest.raises(UserError, match="also reads the Hessian"):
        replace(algorithm, adjoint="recomputed", **pieces)


@pytest.mark.parametrize("hessian_free_steps", [None, 2])
def test_memory_does_not_grow_with_the_steps(hessian_free_steps):
    def peak(steps):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 1)).double()
        algorithm = imaml(
            Objective(model=model, loss=F.mse_loss),
            inner_lr=0.01,
            inner_steps=steps,
            eval_inner_steps=1,
            strength=1.0,
            cg_steps=2,
            hessian_free_steps=hessian_free_steps,
        )
        with Peak() as mode:
            meta_gradient(algorithm, initial_meta(algorithm), random_episodes("mlp"))
        return mode.largest

    assert peak(40) < 1.05 * peak(4)


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ({"chain": [StepSize(0.1)]}, "this update has no pull towards theta"),
        (
            {"chain": [TowardsTheta(1.0), LearnedStepSize(0.1, "element")]},
            r"step_size\.0\.weight \(one of 4\) would never be learned",
        ),
        (
            {"outer_loss": MultiStepLoss([0.5, 0.5])},
            "sees only phi_K, so it does not fit MultiStepLoss",
        ),
        ({"cg_steps": None}, "adjoint=implicit and cg_steps belong together"),
        ({"adjoint": "unrolled"}, "adjoint=implicit and cg_steps belong together"),
        ({"batch_size": 2}, "on the whole support set"),
        (
            {"adjoint": "first_order", "cg_steps": None, "per_step_norm": True},
            "the loss at phi_K only reaches the last row",
        ),
    ],
)
def test_what_has_no_proximal_minimum_is_refused_with_the_reason(pieces, says):
    chain = pieces.pop("chain", [TowardsTheta(1.0), StepSize(0.1)])
    values = {"adjoint": "implicit", "cg_steps": 3, **pieces}
    model = nn.Sequential(nn.Linear(1, 1), nn.GroupNorm(1, 1))
    objective = Objective(model=model, loss=F.mse_loss)
    with pytest.raises(UserError, match=says):
        GradientBased(
            objective=objective, update=Update(chain), inner_steps=2, eval_inner_steps=2, **values
        )
