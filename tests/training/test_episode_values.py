"""Intervals are the field's: mean +/- 1.96 std / sqrt(episodes)."""

import math

import pytest
import torch

from metaloop.training.episode_values import EpisodeValues
from metaloop.training.estimate import estimate


def test_the_interval_is_by_hand():
    mean, half_width, episodes = estimate(
        torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [6.0, 0.0]])
    )
    # deviations -2 -1 0 3: variance 14 / 3
    assert mean.tolist() == [3.0, 0.0]
    assert half_width.tolist() == pytest.approx([1.96 * math.sqrt(14 / 3) / 2, 0.0])
    assert episodes == 4


def test_one_episode_has_no_interval():
    assert math.isnan(estimate(torch.tensor([[0.5]])).half_width)


def test_the_interval_covers_the_mean_95_times_in_100():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(600, 4000, generator=generator, dtype=torch.float64)
    mean, half_width, _ = estimate(draws)
    assert (mean.abs() < half_width).double().mean() == pytest.approx(0.95, abs=0.01)


def test_values_come_back_in_the_order_of_the_episodes():
    values = EpisodeValues()
    values.update(torch.tensor([2, 0]), {"loss": torch.tensor([[20.0, 2.0], [0.0, 0.0]])})
    values.update(torch.tensor([1]), {"loss": torch.tensor([[10.0, 1.0]])})
    assert values.compute()["loss"].tolist() == [[0.0, 0.0], [10.0, 1.0], [20.0, 2.0]]
