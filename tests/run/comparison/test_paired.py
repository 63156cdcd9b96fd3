"""The paired difference and its correction, by formulas that a pencil is enough for."""

import math

import numpy as np
import pytest

from metaloop.run.comparison.paired import correct_by_holm, paired_difference


def test_interval_effect_and_p_are_those_of_the_differences():
    # differences 2, 3, 0, 5: mean 5/2, sum of squared deviations 13, variance 13/3
    found = paired_difference([3.0, 5.0, 4.0, 8.0], [1.0, 2.0, 4.0, 3.0])
    deviation = math.sqrt(13 / 3)
    assert (found.mean, found.pairs) == (2.5, 4)
    # t(0.975; 3 degrees of freedom) = 3.182446, as tables have it
    assert found.half_width == pytest.approx(3.182446 * deviation / 2, rel=1e-6)
    assert found.effect_size == pytest.approx(2.5 / deviation)
    # Student's distribution with 3 degrees of freedom, integrated by hand
    x = 2.5 / (deviation / 2) / math.sqrt(3)
    assert found.p == pytest.approx(1 - 2 / math.pi * (x / (1 + x**2) + math.atan(x)))


def test_two_pairs_have_the_wide_interval_of_one_degree_of_freedom():
    found = paired_difference([1.0, 3.0], [0.0, 0.0])  # differences 1 and 3: deviation sqrt 2
    assert found.half_width == pytest.approx(12.706205, rel=1e-6)
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(2))  # a Cauchy distribution


def test_what_the_episodes_have_in_common_cancels():
    hard = np.array([0.1, 0.9, 0.3, 0.7, 0.5])
    found = paired_difference(hard + 0.1 + 0.01 * hard, hard)
    assert found.half_width < 0.01  # while the values themselves have 0.3


@pytest.mark.parametrize(("difference", "p"), [(0.0, 1.0), (0.2, 0.0), (-0.2, 0.0)])
def test_a_difference_that_never_varies_has_no_effect_size(difference, p):
    b = np.array([0.1, 0.4, 0.7])
    found = paired_difference(b + difference, b)
    assert found.mean == pytest.approx(difference)
    assert (found.half_width, found.effect_size, found.p) == (0.0, None, p)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04, which may not fall below the one before it
    assert correct_by_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_by_holm([0.9, 0.6]) == [1.0, 1.0]
    assert correct_by_holm([0.03]) == [0.03]
    assert correct_by_holm([]) == []


def test_the_interval_covers_and_the_correction_holds_for_all_comparisons_together():
    draws = np.random.default_rng(0).normal(size=(600, 3, 5))  # families of three, of five pairs
    found = [[paired_difference(pairs, np.zeros(5)) for pairs in family] for family in draws]
    covered = np.mean([[abs(one.mean) <= one.half_width for one in family] for family in found])
    assert 0.94 < covered < 0.96  # 1.96 in place of Student's t would cover 0.88
    p = [[one.p for one in family] for family in found]
    assert np.mean([min(family) < 0.05 for family in p]) > 0.1  # what uncorrected p would claim
    assert np.mean([min(correct_by_holm(family)) < 0.05 for family in p]) < 0.07
