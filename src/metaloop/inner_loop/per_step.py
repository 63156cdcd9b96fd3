"""Scale, shift and statistics of the norms, separate for each inner step.

MAML++ (Antoniou et al. 2019, arXiv:1810.09502), section 4: the distributions of activations at
phi_0 and at phi_5 differ, so norms shared by all steps fit neither.

Learned parameters, one row for each of phi_0 .. phi_K; steps beyond K use the last row:
    per_step.NAME               [rows, features]  replaces the model's scale or shift NAME
    statistics.NORM.mean        [rows, features]  running averages of that norm's batch statistics
    statistics.NORM.variance    [rows, features]
"""

import torch
from torch import Tensor

from metaloop.episode import Inputs
from metaloop.inner_loop.norms import scales_and_shifts
from metaloop.inner_loop.objective import STATISTICS, Objective, Parameters

PER_STEP = "per_step."


def own_scales_and_shifts(objective: Objective, rows: int) -> dict[str, Tensor]:
    """Create rows that are initially copies of the model's scales and shifts."""
    theta = objective.meta_parameters()
    return {
        PER_STEP + name: theta[name][None].repeat_interleave(rows, 0).detach()
        for name in scales_and_shifts(objective.model)
        if name in theta
    }


def own_statistics(objective: Objective, rows: int) -> dict[str, Tensor]:
    """Create rows that are initially the norms' running statistics (by default mean 0, var. 1)."""
    return {
        f"{STATISTICS}{name}.{kind}": value[None].repeat_interleave(rows, 0)
        for name, norm in objective.norms.items()
        for kind, value in (("mean", norm.running_mean), ("variance", norm.running_var))
        if value is not None
    }


def at_step(objective: Objective, theta: Parameters, own: Parameters, step: int) -> Parameters:
    """Insert the rows of this inner step into theta."""
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
    """Compute |stored - measured|^2 / 2 for one row; the statistics measured at phi are constant.

    Its gradient is stored - measured, so descent with step size r is a running average of rate r.
    """
    measured = objective.measure_statistics(phi, inputs)
    squares = [(own[name][row] - value).square().sum() for name, value in measured.items()]
    return torch.stack(squares).sum() / 2
