"""Calibration: the accuracy of predictions compared with their confidence."""

from typing import NamedTuple

from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from metaloop.training.episode_values import NONE, Answered
from metaloop.training.estimate import Estimate, estimate

BINS = 15  # as in Guo et al. 2017 (arXiv:1706.04599)
BELOW_ONE = 1 - 2**-30  # puts the confidence 1 into the last bin


class Reliability(NamedTuple):
    """Predictions after the last inner step, in bins of their confidence.

    The confidence is the probability of the predicted class, which is the largest.

    Shapes: B bins of equal width
        examples, right [B]  query examples, and those predicted correctly
        confidence      [B]  mean confidence; nan in an empty bin
        error                the expected calibration error, sum_b n_b / n |right_b / n_b -
                             confidence_b|, a scalar; its interval is a jackknife's over episodes
    """

    examples: Tensor
    right: Tensor
    confidence: Tensor
    error: Estimate


def measure_reliability(answered: Answered) -> Reliability:
    """Compare the confidence of all predictions with their accuracy."""
    is_asked = answered.targets != NONE
    is_right = ((answered.answers == answered.targets) & is_asked).double()
    confidences = answered.confidences.double().clamp(0, BELOW_ONE) * is_asked
    places = (confidences * BINS).long()

    def per_bin(values: Tensor) -> Tensor:
        """Sum over each episode's predictions, [T, B]."""
        return values.new_zeros(len(values), BINS).scatter_add(1, places, values * is_asked)

    examples, right, sums = map(per_bin, (is_asked.double(), is_right, confidences))
    error = binary_calibration_error(
        confidences[is_asked], is_right[is_asked].long(), n_bins=BINS, norm="l1"
    )
    gaps, numbers, episodes = right - sums, is_asked.sum(1), len(is_asked)
    without_one = (gaps.sum(0) - gaps).abs().sum(1) / (numbers.sum() - numbers)
    pseudo_values = episodes * error - (episodes - 1) * without_one
    return Reliability(
        examples.sum(0).long(),
        right.sum(0).long(),
        sums.sum(0) / examples.sum(0),
        Estimate(error, estimate(pseudo_values).half_width, episodes),
    )
