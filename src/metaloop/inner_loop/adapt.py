"""The inner loop: how a learner adapts to one task."""

from collections.abc import Iterator

import torch

from metaloop.episode import Examples
from metaloop.inner_loop.adjoint import Adjoint
from metaloop.inner_loop.objective import Objective, Parameters
from metaloop.inner_loop.update import Update


def adapt(
    objective: Objective,
    theta: Parameters,
    support: Examples,
    *,
    update: Update,
    adjoint: Adjoint,
    steps: int,
) -> Iterator[Parameters]:
    """Adapt theta to one task by gradient steps on its support set.

    phi_0 = theta and phi_{k+1} = update(phi_k, grad L(phi_k; support)), kept differentiable in
    theta as the adjoint says. Finn et al. 2017 (arXiv:1703.03400), eq. 1.

    Shapes (legend in episode.py):
        support.inputs   [S, *X]
        support.targets  [S] or [S, *Y]

    Yields:
        phi_0 .. phi_steps, one at a time: a path is held only by who collects it.

    """
    phi = theta
    yield phi
    for _ in range(steps):
        gradient = torch.func.grad(objective.support_loss)(dict(adjoint(phi)), support)
        phi = update(phi, gradient)
        yield phi
