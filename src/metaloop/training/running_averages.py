"""Running averages of norm statistics, which an algorithm keeps among its parameters."""

import torch

from metaloop.inner_loop import STATISTICS

# prefix of their names in MetaLearner.own, where torch allows no dot
AVERAGES = STATISTICS.replace(".", ":")
# momentum of the averages per meta-step, as in torch's batch norms
AVERAGING_RATE = 0.1


def move_averages(averages: list[torch.nn.Parameter]) -> None:
    """Update the averages by their gradient: stored - measured, averaged over processes."""
    with torch.no_grad():
        for average in averages:
            assert average.grad is not None
            average.sub_(AVERAGING_RATE * average.grad)
            average.grad = None  # no optimizer resets it
