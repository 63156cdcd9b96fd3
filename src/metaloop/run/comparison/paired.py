"""Differences of paired values, and the correction for several comparisons."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

ROUNDING = 1e-12  # relative deviation below which differences count as equal


class PairedDifference(NamedTuple):
    """The mean of a - b over pairs, with the half-width of its 95 % interval.

    Attributes:
        effect_size: Cohen's d of paired differences, their mean divided by their standard
            deviation; None if they do not vary.
        p: p of the two-sided paired t-test.
        pairs: number of pairs.

    """

    mean: float
    half_width: float
    effect_size: float | None
    p: float
    pairs: int


def paired_difference(a: ArrayLike, b: ArrayLike) -> PairedDifference:
    """Compute the mean of a - b, with Student's interval and test, for independent pairs.

    Shapes:
        a, b [pairs]  at least two
    """
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    pairs, mean, deviation = len(differences), differences.mean(), differences.std(ddof=1)
    if deviation <= ROUNDING * np.abs(differences).max():  # Student's t would be infinite
        return PairedDifference(float(mean), 0.0, None, float(mean == 0), pairs)
    freedom, error = pairs - 1, deviation / pairs**0.5
    width, p = stdtrit(freedom, 0.975) * error, 2 * stdtr(freedom, -abs(mean) / error)
    return PairedDifference(float(mean), float(width), float(mean / deviation), float(p), pairs)


def correct_by_holm(p: Sequence[float]) -> list[float]:
    """Correct p for several comparisons by Holm's step-down method (1979), in the order given.

    Of m values the i-th smallest is multiplied by m + 1 - i, is at least what the one before it
    has become, and at most 1.
    """
    order = np.argsort(p, kind="stable")
    multiplied = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(multiplied), 1.0)
    return [float(value) for value in corrected]
