"""Whose statistics norms take, and which of their parameters adapt."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.algorithms import GradientBased
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, StepSize, Update
from metaloop.meta_gradient import adaptation_path, meta_gradient
from tests.episodes import initial_meta, named, random_episodes


def learner(norm_mode="transductive", norm_adapts="all", norm=nn.BatchNorm2d) -> GradientBased:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 4, 3, stride=3), norm(4), nn.Tanh(), nn.Flatten())
    objective = Objective(
        model=named(body, nn.Linear(64, 3)).double(),
        loss=F.cross_entropy,
        norm_mode=norm_mode,
        norm_adapts=norm_adapts,
    )
    return GradientBased(
        objective=objective, update=Update([StepSize(0.5)]), inner_steps=2, eval_inner_steps=2
    )


def task():
    return tree_map(lambda x: x[0], random_episodes("conv"))


def normalised_by(batch, model, inputs):
    """The model's outputs, its norm's statistics those of another batch."""
    convolved, other = model.body[0](inputs), model.body[0](batch)
    mean = other.mean((0, 2, 3), keepdim=True)
    std = (other.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    return model.head(torch.tanh((convolved - mean) / std).flatten(1))


def test_support_plus_one_normalises_each_query_example_with_the_support_set():
    algorithm, episode = learner("support_plus_one"), task()
    found = algorithm.objective.predict_query(initial_meta(algorithm), episode)
    for row, example in zip(found, episode.query.inputs, strict=True):
        batch = torch.cat([episode.support.inputs, example[None]])
        expected = normalised_by(batch, algorithm.objective.model, example[None])[0]
        torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
@pytest.mark.parametrize("norm_mode", ["inductive", "support_plus_one"])
def test_every_mode_is_differentiated_exactly(norm_mode, adjoint):
    algorithm, episodes = replace(learner(norm_mode), adjoint=adjoint), random_episodes("conv")
    meta = initial_meta(algorithm)
    gradient, _ = meta_gradient(algorithm, meta, episodes)
    generator = torch.Generator().manual_seed(1)
    direction = {n: torch.randn(p.shape, generator=generator).double() for n, p in meta.items()}

    def loss(sign):
        moved = {n: p + sign * 1e-6 * direction[n] for n, p in meta.items()}
        return meta_gradient(algorithm, moved, episodes)[1]["query_loss"].mean()

    expected = sum((gradient[n] * d).sum() for n, d in direction.items())
    torch.testing.assert_close((loss(1) - loss(-1)) / 2e-6, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("norm_adapts", "moving"),
    [("all", {"weight", "bias"}), ("scale", {"weight"}), ("shift", {"bias"}), ("none", set())],
)
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, lambda n: nn.GroupNorm(2, n)])
def test_norm_adapts_says_which_of_the_norms_parameters_move(norm_adapts, moving, norm):
    algorithm = learner(norm_adapts=norm_adapts, norm=norm)
    first, _, last = algorithm.adapt(initial_meta(algorithm), task().support, 2)
    moved = {n for n in first if not torch.equal(first[n], last[n])}
    assert {n.split(".")[-1] for n in moved if n.startswith("body.1.")} == moving
    assert {"body.0.weight", "head.weight"} <= moved


def test_per_step_statistics_are_running_averages_of_each_step():
    algorithm, episodes = learner("per_step"), random_episodes("conv", tasks=2)
    meta, name = initial_meta(algorithm), "statistics.body.1.mean"
    assert meta[name].shape == (3, 4)  # phi_0, phi_1, phi_2
    gradient, _ = meta_gradient(algorithm, meta, episodes)
    met = []
    for t in range(2):
        one = tree_map(lambda x, t=t: x[t], episodes)
        path = list(algorithm.adapt(meta, one.support, 2))
        convolved = [
            F.conv2d(one.support.inputs, phi["body.0.weight"], phi["body.0.bias"], stride=3)
            for phi in path
        ]
        met.append(torch.stack([c.mean((0, 2, 3)) for c in convolved]))
    # a step of size 0.1 down this gradient moves the average a tenth of the way to the mean
    torch.testing.assert_close(gradient[name], meta[name] - torch.stack(met).mean(0))


def test_per_step_statistics_change_no_other_gradient():
    stored, plain = learner("per_step"), learner()
    episodes = random_episodes("conv")
    found, _ = meta_gradient(stored, initial_meta(stored), episodes)
    expected, _ = meta_gradient(plain, initial_meta(plain), episodes)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-14)


def test_evaluation_normalises_by_the_rows_of_its_step():
    algorithm, episode = learner("per_step"), task()
    meta = initial_meta(algorithm)
    statistics = algorithm.objective.measure_statistics(meta, episode.support.inputs)
    meta |= {n: torch.stack([s, 2 * s, 3 * s]) for n, s in statistics.items()}
    algorithm.objective.model.eval()
    phi_0, *_ = algorithm.adapt(meta, episode.support, 2)
    with torch.no_grad():
        found = algorithm.objective.predict_query(phi_0, episode)
        expected = normalised_by(
            episode.support.inputs, algorithm.objective.model, episode.query.inputs
        )
    torch.testing.assert_close(found, expected)
    name = "statistics.body.1.mean"
    path = list(algorithm.adapt(meta, episode.support, 4))
    rows = [float(phi[name][0] / statistics[name][0]) for phi in path]
    assert rows == pytest.approx([1, 2, 3, 3, 3])  # steps beyond those trained take the last


def test_frozen_norms_of_a_pretrained_network_do_not_change():
    algorithm, episodes = learner("frozen", norm=nn.BatchNorm2d), random_episodes("conv")
    norm = algorithm.objective.model.body[1]
    norm.running_mean.copy_(torch.arange(4) / 10)
    norm.running_var.copy_(1 + torch.arange(4) / 10)
    before = norm.running_mean.clone()
    algorithm.objective.model.train()
    meta, episode = initial_meta(algorithm), task()
    affine = (
        algorithm.objective.model.body[0](episode.query.inputs) - norm.running_mean[:, None, None]
    ) / (norm.running_var + norm.eps).sqrt()[:, None, None]
    expected = algorithm.objective.model.head(torch.tanh(affine).flatten(1))
    torch.testing.assert_close(algorithm.objective.predict_query(meta, episode), expected)
    one_by_one, _ = meta_gradient(algorithm, meta, episodes, tasks_at_once=1)
    together, _ = meta_gradient(algorithm, meta, episodes)
    for name, value in one_by_one.items():
        torch.testing.assert_close(together[name], value, rtol=1e-9, atol=1e-12)
    assert torch.equal(norm.running_mean, before)


def test_frozen_norms_read_the_stored_statistics_and_do_not_change_them():
    algorithm, episodes = learner("frozen"), random_episodes("conv")
    meta, episode = initial_meta(algorithm), task()
    statistics = algorithm.objective.measure_statistics(meta, episode.support.inputs)
    meta |= {n: s[None] for n, s in statistics.items()}
    first, *_, last = algorithm.adapt(meta, episode.support, 3)
    with torch.no_grad():
        expected = normalised_by(
            episode.support.inputs, algorithm.objective.model, episode.query.inputs
        )
        torch.testing.assert_close(algorithm.objective.predict_query(first, episode), expected)
    assert all(torch.equal(first[n], last[n]) for n in statistics)
    gradient, _ = meta_gradient(algorithm, meta, episodes)
    assert not any(gradient[n].any() for n in statistics)


def test_several_modes_are_judged_side_by_side():
    algorithm, episodes = learner(), random_episodes("conv")
    meta = initial_meta(algorithm)
    modes = ("inductive", "support_plus_one")
    both = adaptation_path(algorithm, meta, episodes, steps=2, norm_modes_beside=modes)
    for mode in modes:
        alone = adaptation_path(learner(mode), meta, episodes, steps=2)
        assert torch.equal(both[f"query_loss@{mode}"], alone["query_loss"])
    alone = adaptation_path(algorithm, meta, episodes, steps=2)
    assert torch.equal(both["query_loss"], alone["query_loss"])


@pytest.mark.parametrize("norm_mode", ["frozen", "per_step"])
def test_a_norm_that_cannot_store_statistics_is_refused_if_they_are_needed(norm_mode):
    with pytest.raises(UserError, match=rf"norm_mode={norm_mode} .*body.1 .*does not store any"):
        learner(norm_mode, norm=lambda n: nn.BatchNorm2d(n, track_running_stats=False))


@pytest.mark.parametrize("norm_mode", ["transductive", "inductive", "support_plus_one"])
def test_norms_with_and_without_running_statistics_follow_the_same_mode(norm_mode):
    untracked = learner(norm_mode, norm=lambda n: nn.BatchNorm2d(n, track_running_stats=False))
    tracked, episodes = learner(norm_mode), random_episodes("conv")
    found, expected = (
        meta_gradient(algorithm, initial_meta(tracked), episodes)[0]
        for algorithm in (untracked, tracked)
    )
    assert all(torch.equal(found[n], g) for n, g in expected.items())


def test_frozen_starts_from_the_pretrained_networks_statistics():
    trained = nn.BatchNorm2d(4)
    with torch.no_grad():
        trained(3 + torch.randn(50, 4, 2, 2))  # what a pretraining leaves in it
    algorithm = learner("frozen", norm=lambda _: trained)
    own = algorithm.own_parameters()
    assert torch.equal(own["statistics.body.1.mean"], trained.running_mean[None])
    assert torch.equal(own["statistics.body.1.variance"], trained.running_var[None])
    assert not algorithm.lacks_statistics


def test_a_norm_in_eval_uses_its_stored_statistics_even_if_all_are_in_eval():
    algorithm = learner()
    model = algorithm.objective.model
    model.train()
    model.body[1].eval()
    model.body[1].running_mean += 5
    objective = Objective(model=model, loss=F.cross_entropy)
    theta, inputs = objective.meta_parameters(), task().support.inputs
    expected = model(inputs)
    torch.testing.assert_close(objective.predict(theta, inputs), expected)
    model.eval()
    torch.testing.assert_close(objective.predict(theta, inputs), expected)
    moved = replace(objective, norm_mode="inductive").predict_query(theta, task())
    torch.testing.assert_close(moved, model(task().query.inputs))


def test_batch_norms_of_several_processes_are_refused_by_name():
    with pytest.raises(UserError, match="body.1 is a SyncBatchNorm"):
        learner(norm=nn.SyncBatchNorm)
