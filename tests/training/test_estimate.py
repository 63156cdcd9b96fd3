"""A mean's 95 % interval: Student's where values are few, the field's 1.96 where they are many."""

import math

import pytest
import torch

from metaloop.training.estimate import estimate


def test_the_interval_of_few_values_is_by_hand():
    mean, half_width, count = estimate(
        torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [6.0, 0.0]])
    )
    # deviations -2 -1 0 3: variance 14 / 3; Student's 0.975 quantile of 3 degrees is 3.18244
    assert mean.tolist() == [3.0, 0.0]
    assert half_width.tolist() == pytest.approx([3.1824 * math.sqrt(14 / 3) / 2, 0.0], rel=1e-4)
    assert count == 4


def test_from_600_values_on_it_is_what_papers_print():
    values = torch.tensor([0.0, 1.0]).repeat(300)[:, None]
    std = math.sqrt(600 * 0.25 / 599)
    assert estimate(values).half_width.tolist() == pytest.approx([1.96 * std / math.sqrt(600)])


def test_a_single_value_has_no_interval():
    assert math.isnan(estimate(torch.tensor([[0.5]])).half_width)


@pytest.mark.parametrize("count", [3, 10, 600])
def test_the_interval_covers_the_mean_95_times_in_100(count):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(count, 4000, generator=generator, dtype=torch.float64)
    mean, half_width, _ = estimate(draws)
    assert (mean.abs() < half_width).double().mean() == pytest.approx(0.95, abs=0.01)
