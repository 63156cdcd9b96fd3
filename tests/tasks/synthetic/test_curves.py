"""Harmonics, and sinusoids mixed with lines, are the papers'."""

import math

import pytest
import torch

from metaloop.tasks import Harmonic, RandomStreams, SinusoidLine

FAMILIES = {"harmonic": Harmonic, "sinusoid_line": SinusoidLine}


def draw(family, episodes=1000, shots=10, queries=10, noise_std=0.0):
    task = FAMILIES[family](shots=shots, queries=queries, noise_std=noise_std)
    return task.draw("train", RandomStreams(0, "train", torch.arange(episodes)))


def points(episode):
    support, query = episode.support, episode.query
    x, y = (
        torch.cat([support.inputs, query.inputs], 1),
        torch.cat([support.targets, query.targets], 1),
    )
    return x.double(), y.double()


def residual(columns, y):
    """What is left of y [T, n, 1] when these columns [T, n, k] fit it best, [T]."""
    fit = columns @ torch.linalg.lstsq(columns, y).solution
    return (y - fit).abs().amax((1, 2))


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_follow_the_legend_and_more_points_change_none_before(family):
    few, many = (draw(family, episodes=3, shots=4, queries=q, noise_std=0.3) for q in (6, 60))
    assert few.support.inputs.shape == few.support.targets.shape == (3, 4, 1)
    assert few.query.targets.shape == (3, 6, 1)
    assert few.classes.shape == (3, 0)
    assert torch.equal(few.support.targets, many.support.targets)
    assert torch.equal(few.query.targets, many.query.targets[:, :6])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("episodes", "shots"), [(5, 4), (1, [2, 4])])
def test_the_truth_of_an_episode_passes_through_its_points_without_noise(family, episodes, shots):
    clean, noisy = (draw(family, episodes, shots, 6, noise_std) for noise_std in (0.0, 0.3))
    task = FAMILIES[family](shots=shots, queries=6, noise_std=0.3)
    truth = task.truth("train", RandomStreams(0, "train", torch.arange(episodes)))
    x, y = points(clean)
    torch.testing.assert_close(truth(x), y, rtol=0, atol=1e-5)  # points are rounded to float32
    assert not torch.allclose(truth(x), points(noisy)[1], atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_noise_is_gaussian_of_its_deviation_in_both_sets(family):
    clean, noisy = draw(family), draw(family, noise_std=0.3)
    for part in ("support", "query"):
        noise = getattr(noisy, part).targets - getattr(clean, part).targets
        assert torch.equal(getattr(noisy, part).inputs, getattr(clean, part).inputs)
        assert abs(float(noise.mean())) < 0.01
        assert float(noise.std()) == pytest.approx(0.3, rel=0.02)
        assert float((noise.abs() < 0.3).double().mean()) == pytest.approx(0.683, abs=0.02)


def test_half_of_the_tasks_are_lines_and_half_sines_of_the_papers_ranges():
    x, y = points(draw("sinusoid_line"))
    assert x.abs().max() <= 5
    line = torch.cat([x, torch.ones_like(x)], -1)
    waves = torch.cat([x.sin(), x.cos()], -1)
    is_line, is_sine = residual(line, y) < 1e-4, residual(waves, y) < 1e-4
    assert (is_line ^ is_sine).all()
    assert 450 < is_line.sum() < 550
    slope, intercept = torch.linalg.lstsq(line, y).solution[is_line].squeeze(-1).unbind(-1)
    for values in (slope, intercept):
        assert -3 <= values.min() < -2.9
        assert 2.9 < values.max() <= 3
    # A sin(x - p) = A cos p sin x - A sin p cos x
    a, b = torch.linalg.lstsq(waves, y).solution[is_sine].squeeze(-1).unbind(-1)
    amplitude, phase = a.hypot(b), torch.atan2(-b, a)
    assert 0.1 <= amplitude.min() < 0.2
    assert 4.9 < amplitude.max() <= 5
    assert -1e-4 < phase.min() < phase.max() < math.pi + 1e-4


def test_every_harmonic_task_is_two_waves_around_one_place():
    x, y = points(draw("harmonic", episodes=400, shots=20, queries=20))
    # which of many frequencies in [5, 7] fits, with its double, by four numbers?
    best = torch.full((400,), math.inf, dtype=torch.float64)
    for w in torch.linspace(5, 7, 401, dtype=torch.float64):
        waves = [f(k * w * x) for k in (1, 2) for f in (torch.sin, torch.cos)]
        best = best.minimum(residual(torch.cat(waves, -1), y))
    assert best.median() < 0.02  # the nearest of the frequencies is off by 0.0025 at most
    scale = y.abs().amax((1, 2))
    assert (best < 0.1 * scale.clamp(min=0.5)).all()
    centre, spread = x.mean(1).squeeze(-1), x.std(1).squeeze(-1)
    assert spread.mean() == pytest.approx(1, abs=0.02)
    assert centre.std() == pytest.approx(math.sqrt(8**2 / 12 + 1 / 40), rel=0.05)
    # E y^2 = E a_1^2 / 2 + E a_2^2 / 2
    assert y.square().mean() == pytest.approx(1, rel=0.1)
