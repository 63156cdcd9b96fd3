"""Running averages among what an algorithm learns: the statistics that norms normalise by."""

import torch

from metaloop.inner_loop import STATISTICS

# how their names begin among the own parameters: torch allows no dot there
AVERAGES = STATISTICS.replace(".", ":")
# how much of its running averages a meta-step renews, as in torch's batch norms
AVERAGING_RATE = 0.1


def move_averages(averages: list[torch.nn.Parameter]) -> None:
    """Move them: their gradient is stored - measured, the mean over all processes."""
    with torch.no_grad():
        for average in averages:
            assert average.grad is not None
            average.sub_(AVERAGING_RATE * average.grad)
            average.grad = None  # no optimizer does it
