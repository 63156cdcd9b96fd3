"""Policy gradients inside and outside: the surrogate's derivatives, by hand and by difference."""

import json
import math

import pytest
import torch
from torch import nn

from metaloop.algorithms import GradientBased
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, StepSize, Update
from metaloop.meta_gradient import meta_gradient
from metaloop.models import MLP
from metaloop.run.train import train
from metaloop.tasks import PointNavigation, RandomStreams

STD, ALPHA = 0.5, 0.3


def make(shots=6, queries=6, horizon=3) -> PointNavigation:
    return PointNavigation(shots=shots, queries=queries, horizon=horizon, action_std=STD)


def episodes(task, count=2):
    drawn = task.draw("train", RandomStreams(0, "train", torch.arange(count)))
    return task.gather(drawn, torch.float64)


def maml_of(task, model, adjoint="unrolled", steps=1) -> GradientBased:
    objective = Objective(model=model, loss=task.loss, metrics=task.metrics, forward=task.forward)
    pieces = {"adjoint": adjoint, "inner_steps": steps, "eval_inner_steps": steps}
    return GradientBased(objective=objective, update=Update([StepSize(ALPHA)]), **pieces)


class Square(nn.Module):
    """A policy that ignores where it is: the mean action is w * w."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.3, -0.4], dtype=torch.float64))

    def forward(self, state):
        return (self.w * self.w).expand(len(state), 2)


def advantages(w, noise, goal):
    """Of one step each: how much better than the others an action was, over the deviation."""
    place = 0.1 * (w * w + STD * noise[:, 0]).clamp(-1, 1)
    gain = -(place - goal).norm(dim=-1)
    others = (gain.sum() - gain) / (len(gain) - 1)
    return (gain - others) / (gain - others).square().mean().sqrt()


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
@pytest.mark.parametrize("tasks_at_once", [1, "all"])
def test_the_meta_gradient_of_one_step_is_the_hand_derived_one(adjoint, tasks_at_once):
    """Horizon 1. With e the noise, A the advantages (whose sum is 0) and means over rollouts,

    grad L(w) = -mean(A e) 2 w / STD      phi = w - ALPHA grad L(w)
    H         = -mean(A e) 2 / STD        (what the squared log-density adds has the factor mean A)
    meta-gradient = (1 - ALPHA H) * -mean(A' e') 2 phi / STD, A' and e' of the query at phi
    """
    task, model = make(horizon=1), Square()
    batch, w = episodes(task), model.w.detach()
    algorithm = maml_of(task, model, adjoint)
    gradient, report = meta_gradient(algorithm, {"w": w}, batch, tasks_at_once=tasks_at_once)
    expected, returns = [], []
    for t in range(2):
        support, query, goal = (
            batch.support.inputs[t],
            batch.query.inputs[t],
            batch[0].targets[t, 0],
        )
        mean_ae = (advantages(w, support, goal)[:, None] * support[:, 0]).mean(0)
        phi = w + ALPHA * mean_ae * 2 * w / STD
        query_ae = (advantages(phi, query, goal)[:, None] * query[:, 0]).mean(0)
        expected.append((1 + ALPHA * mean_ae * 2 / STD) * -query_ae * 2 * phi / STD)
        place = 0.1 * (phi * phi + STD * query[:, 0]).clamp(-1, 1)
        returns.append(-(place - goal).norm(dim=-1).mean())
    torch.testing.assert_close(gradient["w"], torch.stack(expected).mean(0), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(report["return"], torch.stack(returns))
    torch.testing.assert_close(report["query_loss"], -torch.stack(returns))


def surrogate(model, theta, samples):
    """The loss as a plain function of the parameters, with everything sampled held fixed."""
    states, actions, advantage = samples
    mean = torch.func.functional_call(model, theta, (states.flatten(0, 1),)).view_as(actions)
    return ((actions - mean).square().sum(-1) / (2 * STD**2) * advantage).mean()


def sampled(model, theta, noise, goal):
    """Roll out step by step, one rollout after the other: states, actions and advantages."""
    states, actions, rewards = [], [], []
    for rollout in noise:
        place, mine = torch.zeros(2, dtype=torch.float64), ([], [], [])
        for e in rollout:
            with torch.no_grad():
                mean = torch.func.functional_call(model, theta, (place[None],))[0]
            action = mean + STD * e
            mine[0].append(place)
            mine[1].append(action)
            place = place + 0.1 * action.clamp(-1, 1)
            mine[2].append(-(place - goal).norm())
        for all_of, one in zip((states, actions, rewards), mine, strict=True):
            all_of.append(torch.stack(one))
    rewards = torch.stack(rewards)
    to_go = torch.stack([rewards[:, t:].sum(1) for t in range(rewards.shape[1])], 1)
    others = (to_go.sum(0) - to_go) / (len(to_go) - 1)
    advantage = (to_go - others) / (to_go - others).square().mean().sqrt()
    return torch.stack(states), torch.stack(actions), advantage


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
@pytest.mark.parametrize("tasks_at_once", [1, "all"])
def test_the_meta_gradient_is_the_slope_of_the_surrogate_with_samples_held_fixed(
    adjoint, tasks_at_once
):
    task = make(horizon=4)
    torch.manual_seed(0)
    model = MLP(2, 2, hidden=[5]).double()
    batch = episodes(task)
    theta = {n: p.detach() for n, p in model.named_parameters()}
    algorithm = maml_of(task, model, adjoint, steps=2)
    gradient, _ = meta_gradient(algorithm, theta, batch, tasks_at_once=tasks_at_once)

    def adapted(theta, fixed):
        """phi_2, and what its steps sampled; `fixed` replays the samples of another theta."""
        phi, samples = theta, []
        for step in range(2):
            seen = fixed[step] if fixed else sampled(model, phi, *support)
            samples.append(seen)
            grads = torch.func.grad(lambda p, seen=seen: surrogate(model, p, seen))(phi)
            phi = {n: p - ALPHA * grads[n] for n, p in phi.items()}
        return phi, samples

    generator = torch.Generator().manual_seed(1)
    direction = {
        n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in theta.items()
    }
    measured, step = [], 1e-6
    for t in range(2):
        goal = batch.support.targets[t, 0]
        support = batch.support.inputs[t], goal
        phi, samples = adapted(theta, None)
        judged = sampled(model, phi, batch.query.inputs[t], goal)
        ends = [
            surrogate(
                model,
                adapted({n: p + s * direction[n] for n, p in theta.items()}, samples)[0],
                judged,
            )
            for s in (step, -step)
        ]
        measured.append((ends[0] - ends[1]) / (2 * step))
    expected = sum((gradient[n] * d).sum() for n, d in direction.items())
    torch.testing.assert_close(expected, torch.stack(measured).mean(), rtol=1e-6, atol=1e-9)


def test_the_gradient_is_the_expected_returns_up_to_the_advantages_deviation():
    rollouts = 200_000
    task = make(shots=rollouts, queries=2, horizon=2)
    model = Square()
    support = episodes(task, count=1).support
    noise, goals = support.inputs[0], support.targets[0]

    def loss(w):
        def network(state):
            return (w * w).expand(len(state), 2)

        return task.loss(task.forward(network, noise), goals)

    w = model.w.detach()
    gradient = torch.func.grad(loss)(w)
    # the same noise at both ends: the mean return is a smooth function of w then
    slopes = [
        (loss(w + 1e-4 * unit) - loss(w - 1e-4 * unit)) / 2e-4
        for unit in torch.eye(2, dtype=torch.float64)
    ]
    cosine = torch.nn.functional.cosine_similarity(gradient, torch.stack(slopes), dim=0)
    assert cosine > 0.999


def test_rollouts_follow_the_papers_rules():
    task = make(shots=2, queries=2, horizon=40)
    goal = torch.tensor([[0.35, -0.2], [0.35, -0.2]], dtype=torch.float64)
    noise = torch.zeros(2, 40, 2, dtype=torch.float64)

    def straight(state):
        return (goal[0] - state) * 10  # in units of the longest step, and clipped

    predictions = task.forward(straight, noise)
    places = predictions[..., 1:]
    assert places[:, 0].tolist() == [[0.1, -0.1]] * 2
    torch.testing.assert_close(places[:, 3], goal)
    # the distances of the first three places; at the fourth it is there, and nothing is lost after
    legs = [math.dist(p, (0.35, -0.2)) for p in ((0.1, -0.1), (0.2, -0.2), (0.3, -0.2))]
    assert task.metrics["return"](predictions, goal) == pytest.approx(-sum(legs))
    assert task.loss(predictions, goal) == pytest.approx(sum(legs))


def test_episodes_are_goals_in_the_square_with_their_noise():
    batch = episodes(make(shots=3, queries=4, horizon=5), count=500)
    assert batch.support.inputs.shape == (500, 3, 5, 2)
    assert batch.query.targets.shape == (500, 4, 2)
    goals = batch.support.targets[:, 0]
    assert torch.equal(batch.query.targets, goals[:, None].expand(500, 4, 2))
    assert goals.abs().max() <= 0.5
    assert goals.std(0).tolist() == pytest.approx([1 / math.sqrt(12)] * 2, rel=0.05)
    assert float(batch.support.inputs.std()) == pytest.approx(1, abs=0.02)


def test_a_single_rollout_is_refused():
    with pytest.raises(UserError, match="at least 2, not 1 and 4"):
        make(shots=1, queries=4)


@pytest.mark.slow
def test_maml_walks_to_the_goal_after_one_step(make_run):
    folder = make_run(
        "task=point_navigation",
        "task.horizon=20",
        "task.shots=10",
        "task.queries=10",
        "model.hidden=[32,32]",
        "algorithm.inner_lr=1",
        "algorithm.eval_inner_steps=1",
        "optimizer.lr=0.005",
        "data.meta_batch_size=20",
        "training.max_steps=150",
        "training.validate_every=150",
        "training.save_every=150",
        "data.eval_meta_batch_size=100",
        "evaluation.episodes=100",
    )
    train(folder)
    results = json.loads((folder.evaluations / "test" / "results.json").read_text())
    before, after = results["metrics"]["return"]["mean"]
    standing_still = -0.3826 * 20  # the mean distance of the goals from the origin, every step
    assert after > before + 2
    assert after > standing_still
    assert results["metrics"]["query_loss"]["mean"] == pytest.approx([-before, -after])
