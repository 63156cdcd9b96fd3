"""Verdicts, derived by hand."""

import pytest

from metaloop.run.board.verdict import OverSeeds, judge


@pytest.mark.parametrize(
    ("published", "means", "widths", "mode", "verdict"),
    [
        # one seed: its interval over episodes, [0.5, 0.7], meets [0.7, 0.9]
        ({"mean": 0.8, "ci95": 0.125}, [0.6], [0.125], "max", "agrees"),
        ({"mean": 0.9, "ci95": 0.125}, [0.6], [0.125], "max", "below"),
        ({"mean": 0.9, "ci95": 0.125}, [0.6], [0.125], "min", "above"),
        # no interval of its own: as uncertain as ours, 0.25 together
        ({"mean": 0.8}, [0.6], [0.125], "max", "agrees"),
        ({"mean": 0.3}, [0.6], [0.125], "max", "above"),
        # two seeds: Student's interval is 12.7 * 0.1 wide (their deviation is 0.1 * sqrt(2))
        ({"mean": 2.0, "ci95": 0.0}, [0.6, 0.8], [0.1, 0.1], "max", "below"),
        ({"mean": 1.9, "ci95": 0.0}, [0.6, 0.8], [0.1, 0.1], "max", "agrees"),
        # one of them diverged
        ({"mean": 0.7}, [0.7, None], [0.1, None], "min", "diverged"),
    ],
)
def test_a_value_agrees_where_its_interval_meets_ours(published, means, widths, mode, verdict):
    assert judge(published, OverSeeds(means, widths), mode) == verdict
