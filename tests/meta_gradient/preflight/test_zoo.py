"""Networks as users bring them: exact and vectorised, exact task by task, or refused by name."""

import re
import warnings

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from metaloop.errors import UserError
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient
from tests.episodes import drawer, recipe
from tests.meta_gradient.preflight.networks import verdict_of
from tests.zoo import LOSSES, NETWORKS, NO_REFERENCE, ONE_BY_ONE, REFUSED, way_listed
from tests.zoo.network import TASKS, WithHead, episodes

INNER_LR, STEPS = 0.05, 2  # the recipe's
EXACT = 1e-9
# evaluated again on the way back, or differentiated forward: nothing random, no reverse mode alone
RECOMPUTED_SAYS = "(random numbers|forward|torch.func) .*adjoint=unrolled"
LOSSES_ONE_BY_ONE = {"masked", "Kullback-Leibler", "margin ranking", "triplet"}
A_DOZEN = [
    "LayerNorm",
    "BatchNorm2d",
    "Dropout",
    "LSTM",
    "TransformerEncoderLayer",
    "Embedding, padded",
    "EmbeddingBag",
    "complex layer",
    "custom function in the old style",
    "weight norm by hook",
    "state in an attribute",
    "GroupNorm",
]


def algorithm_of(name, adjoint="unrolled", loss=F.mse_loss):
    kind, make = NETWORKS[name]
    return recipe("maml", Objective(model=WithHead(make, kind), loss=loss), adjoint)


def in_float64(algorithm):
    algorithm.objective.model.double()
    return algorithm.objective.meta_parameters()


def plain(model, loss, theta, tasks):
    """MAML in torch's words alone: a loop over tasks, functional_call and autograd, twice."""
    torch.manual_seed(0)
    buffers = dict(model.named_buffers())
    leaves = {n: p.detach().requires_grad_() for n, p in theta.items()}
    total = torch.zeros((), dtype=torch.float64)

    def of(phi, x, y):
        held = {n: b.clone() for n, b in buffers.items()}
        return loss(torch.func.functional_call(model, {**phi, **held}, x), y)

    with sdpa_kernel(SDPBackend.MATH):  # the one that torch differentiates twice
        for t in range(TASKS):
            xs, ys, xq, yq = (tensor[t] for part in tasks[:2] for tensor in part)
            phi = leaves
            for _ in range(STEPS):
                slopes = torch.autograd.grad(
                    of(phi, xs, ys), list(phi.values()), create_graph=True, materialize_grads=True
                )
                moved = zip(phi.items(), slopes, strict=True)
                phi = {n: p - INNER_LR * g for (n, p), g in moved}
            total = total + of(phi, xq, yq) / TASKS
        found = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def distance(found, expected):
    size = torch.stack([g.norm() for g in expected.values()]).norm()
    return float(torch.stack([(found[n] - g).norm() for n, g in expected.items()]).norm() / size)


def assert_is_slope(algorithm, meta, tasks, at_once):
    """The meta-gradient along a direction is a difference of the mean query loss, same draws."""

    def at(theta):
        torch.manual_seed(0)
        gradient, report = meta_gradient(algorithm, theta, tasks, tasks_at_once=at_once)
        return gradient, float(report["query_loss"].mean())

    gradient, draw = at(meta)[0], drawer(2)
    direction = {n: draw(*p.shape) for n, p in meta.items()}
    expected = sum(float((gradient[n] * d).sum()) for n, d in direction.items())
    for step in (1e-6, 1e-7, 1e-5):  # a kink may lie between the ends of one
        ends = ({n: p + s * direction[n] for n, p in meta.items()} for s in (step, -step))
        up, down = (at(end)[1] for end in ends)
        if (up - down) / (2 * step) == pytest.approx(expected, rel=1e-5, abs=1e-8):
            return
    pytest.fail(f"{expected} is not the slope {(up - down) / (2 * step)}")


def assert_exact(algorithm, tasks, at_once, *, draws=False, has_reference=True):
    meta, objective = in_float64(algorithm), algorithm.objective
    tasks = tree_map(lambda t: t.double() if t.is_floating_point() else t, tasks)
    for way in {1, at_once}:
        if has_reference and not (draws and way == "all"):
            expected = plain(objective.model, objective.loss, meta, tasks)
            torch.manual_seed(0)
            found, _ = meta_gradient(algorithm, meta, tasks, tasks_at_once=way)
            assert distance(found, expected) < EXACT
        else:
            assert_is_slope(algorithm, meta, tasks, way)


def draws_random_numbers(algorithm, tasks):
    state = torch.get_rng_state()
    with torch.no_grad():
        algorithm.objective.support_loss(
            algorithm.objective.meta_parameters(),
            type(tasks.support)(*(t[0] for t in tasks.support)),
        )
    return not torch.equal(state, torch.get_rng_state())


def assert_runs_as_said(name, adjoint):
    kind, _ = NETWORKS[name]
    tasks = episodes(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of hooks, sparse gradients, deprecated layers
        if name in REFUSED:
            with pytest.raises(UserError, match=REFUSED[name]) as refusal:
                verdict_of(algorithm_of(name), episodes=tasks)
            assert str(refusal.value).endswith(".")
            return
        algorithm = algorithm_of(name, adjoint)
        draws = draws_random_numbers(algorithm, tasks)
        way = way_listed(name, adjoint, draws=draws)
        if way == "refused":
            with pytest.raises(UserError, match=RECOMPUTED_SAYS):
                verdict_of(algorithm, episodes=tasks)
            return
        verdict = verdict_of(algorithm, episodes=tasks)
        expected = 1 if way == "task by task" else "all"
        assert verdict.at_once["tasks_at_once"] == expected, verdict.slower
        if expected == 1:
            reason = ONE_BY_ONE[name].replace("(", r"\(").replace(")", r"\)")
            assert re.search(reason, verdict.slower[0])
        assert_exact(
            algorithm, tasks, expected, draws=draws, has_reference=name not in NO_REFERENCE
        )


@pytest.mark.parametrize("name", A_DOZEN)
def test_a_dozen_networks_run_as_listed(name):
    assert_runs_as_said(name, "unrolled")


@pytest.mark.slow
@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_zoo_runs_as_listed(name, adjoint):
    assert_runs_as_said(name, adjoint)


def test_most_networks_that_torch_differentiates_twice_are_vectorised():
    able = set(NETWORKS) - set(REFUSED) - NO_REFERENCE
    assert len(able - set(ONE_BY_ONE)) >= 0.9 * len(able)
    assert set(ONE_BY_ONE) | set(REFUSED) | NO_REFERENCE <= set(NETWORKS)


@pytest.mark.slow
@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_exact(name, adjoint):
    algorithm, tasks = algorithm_of("Tanh", adjoint, LOSSES[name]), episodes("vector")
    at_once = verdict_of(algorithm, episodes=tasks).at_once["tasks_at_once"]
    assert at_once == (1 if name in LOSSES_ONE_BY_ONE else "all")
    without = ("multi-margin", "multi-margin, squared", "multi-label margin", "cdist")
    assert_exact(algorithm, tasks, at_once, has_reference=name not in without)
