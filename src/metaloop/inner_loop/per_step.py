"""Scale, shift and statistics of the norms, apart for every inner step.

MAML++ (Antoniou et al. 2019, arXiv:1810.09502), section 4: activations at phi_0 and at phi_5 are
distributed differently, so norms shared by all steps fit none of them.

Own parameters, one row for each of phi_0 .. phi_K; steps beyond K use the last:
    per_step.NAME               [rows, features]  in place of the model's scale or shift NAME
    statistics.NORM.mean        [rows, features]  running averages of what that norm met
    statistics.NORM.variance    [rows, features]
"""

import torch
from torch import Tensor

from metaloop.episode import Inputs
from metaloop.inner_loop.norms import scales_and_shifts
from metaloop.inner_loop.objective import STATISTICS, Objective, Parameters

PER_STEP = "per_step."


def own_scales_and_shifts(objective: Objective, rows: int) -> dict[str, Tensor]:
    """Rows that start as copies of the model's own scales and shifts."""
    theta = objective.meta_parameters()
    return {
        PER_STEP + name: theta[name][None].repeat_interleave(rows, 0).detach()
        for name in scales_and_shifts(objective.model)
        if name in theta
    }


def own_statistics(objective: Objective, rows: int) -> dict[str, Tensor]:
    """Rows that start as the norms' running statistics: mean 0 and variance 1 where none are."""
    return {
        f"{STATISTICS}{name}.{kind}": value[None].repeat_interleave(rows, 0)
        for name, norm in objective.norms.items()
        for kind, value in (("mean", norm.running_mean), ("variance", norm.running_var))
        if value is not None
    }


def at_step(objective: Objective, theta: Parameters, own: Parameters, step: int) -> Parameters:
    """Theta with the rows of this inner step in it."""
    here = dict(theta)
    for name, rows in own.items():
        if name.startswith(PER_STEP):
            here[name.removeprefix(PER_STEP)] = rows[min(step, len(rows) - 1)]
        elif name.startswith(STATISTICS) and objective.reads_statistics:
            here[name] = rows[min(step, len(rows) - 1)].detach()
    return here


def tracking_loss(
    objective: Objective, own: Parameters, phi: Parameters, row: int, inputs: Inputs
) -> Tensor:
    """|stored - measured|^2 / 2 of one row, what is measured at phi on this batch a constant.

    Its gradient is stored - measured: a descent of step size r is a running average of rate r.
    """
    measured = objective.measure_statistics(phi, inputs)
    squares = [(own[name][row] - value).square().sum() for name, value in measured.items()]
    return torch.stack(squares).sum() / 2
