"""Calibration: how far from the truth a learner's confidence is, over all episodes together."""

import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from metaloop.training.calibration import BINS, measure_reliability
from metaloop.training.episode_values import NONE, Answered


def answers_of(logits, targets) -> Answered:
    confidences, answers = logits.softmax(-1).max(-1)
    classes = torch.arange(logits.shape[-1]).expand(len(logits), -1)
    return Answered(classes, targets, answers, confidences)


def drawn(temperature, episodes=400):
    """Labels drawn from a softmax whose logits the learner has taken `temperature` times."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(episodes, 10, 3, generator=generator, dtype=torch.float64)
    spread = logits.softmax(-1).flatten(0, 1)
    targets = torch.multinomial(spread, 1, generator=generator).view(episodes, 10)
    return temperature * logits, targets


def test_the_error_is_torchmetrics_over_all_query_examples():
    logits, targets = drawn(3.0)
    found = measure_reliability(answers_of(logits, targets))
    probabilities = logits.softmax(-1).flatten(0, 1)
    expected = multiclass_calibration_error(
        probabilities, targets.flatten(), num_classes=3, n_bins=BINS
    )
    assert float(found.error.mean) == pytest.approx(float(expected), abs=1e-6)
    assert int(found.examples.sum()) == 4000


def test_bins_hold_what_is_counted_by_hand_also_the_surest():
    said = Answered(
        torch.zeros(1, 2),
        torch.tensor([[0, 1, 1, NONE]]),
        torch.tensor([[0, 0, 1, NONE]]),
        torch.tensor([[1.0, 0.95, 0.5, NONE]]),
    )
    found = measure_reliability(said)
    assert found.examples.nonzero()[:, 0].tolist() == [7, 14]  # 0.5 and from 14 / 15 on
    assert (found.examples[7], found.examples[14]) == (1, 2)
    assert (found.right[7], found.right[14]) == (1, 1)
    assert float(found.confidence[14]) == pytest.approx(0.975)
    # of three answers one is 0.5 off, and two are 0.475 off
    assert float(found.error.mean) == pytest.approx((0.5 + 2 * 0.475) / 3, abs=1e-6)


def test_a_learner_that_knows_the_probabilities_is_calibrated_and_a_surer_one_is_not():
    calibrated, sure = (measure_reliability(answers_of(*drawn(t))).error for t in (1.0, 3.0))
    assert float(calibrated.mean) < 0.03
    assert float(sure.mean) > 0.15


def test_the_errors_interval_is_as_wide_as_the_spread_over_data_sets():
    logits, targets = drawn(3.0, episodes=4000)
    parts = [
        measure_reliability(answers_of(*part)).error
        for part in zip(logits.split(100), targets.split(100), strict=True)
    ]
    spread = torch.stack([part.mean for part in parts]).std()
    widths = torch.stack([part.half_width for part in parts]).mean() / 1.98
    assert float(widths) == pytest.approx(float(spread), rel=0.35)
