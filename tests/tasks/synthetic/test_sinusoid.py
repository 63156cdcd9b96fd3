"""Sinusoid regression is the paper's."""

import math

import torch

from metaloop.tasks import RandomStreams, Sinusoid


def draw(split="train", seed=0, start=0, episodes=1000, shots=10, queries=10):
    task = Sinusoid(shots=shots, queries=queries)
    return task.draw(split, RandomStreams(seed, split, torch.arange(start, start + episodes)))


def test_shapes_follow_the_legend():
    episode = draw(episodes=3, shots=4, queries=6)
    assert episode.support.inputs.shape == episode.support.targets.shape == (3, 4, 1)
    assert episode.query.inputs.shape == episode.query.targets.shape == (3, 6, 1)
    assert episode.classes.shape == (3, 0)


def test_every_task_is_one_sine_of_the_papers_amplitudes_and_phases():
    episode = draw()
    x = torch.cat([episode.support.inputs, episode.query.inputs], 1).double()
    y = torch.cat([episode.support.targets, episode.query.targets], 1).double()
    assert x.abs().max() <= 5
    # A sin(x - p) = a sin x + b cos x with a = A cos p, b = -A sin p: two unknowns, 20 points
    waves = torch.cat([x.sin(), x.cos()], -1)
    a, b = torch.linalg.lstsq(waves, y).solution.squeeze(-1).unbind(-1)
    residual = y.squeeze(-1) - a[:, None] * x.sin().squeeze(-1) - b[:, None] * x.cos().squeeze(-1)
    assert residual.abs().max() < 1e-5
    amplitude, phase = (a**2 + b**2).sqrt(), torch.atan2(-b, a)
    assert 0.1 < amplitude.min() < 0.3
    assert 4.8 < amplitude.max() < 5
    assert -1e-4 < phase.min() < 0.1
    assert math.pi - 0.1 < phase.max() < math.pi + 1e-4


def test_splits_are_disjoint_streams():
    first = {
        split: draw(split).support.inputs.flatten() for split in ("train", "validation", "test")
    }
    joined = torch.cat(list(first.values()))
    # 32-bit draws cast to float32 may collide; whole episodes never do
    rows = joined.reshape(-1, 10)
    assert len(rows.unique(dim=0)) == len(rows)


def test_more_query_points_leave_the_task_and_its_support_set_as_they_are():
    few, many = draw(episodes=4, queries=5), draw(episodes=4, queries=50)
    assert torch.equal(few.support.inputs, many.support.inputs)
    assert torch.equal(few.query.targets, many.query.targets[:, :5])
