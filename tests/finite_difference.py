"""The meta-gradient beside a finite difference of the mean meta-loss."""

import torch
from torch.utils._pytree import tree_map

from metaloop.meta_gradient import meta_gradient
from tests.episodes import drawer

STEP = 1e-6


def assert_meta_gradient_is_finite_difference(algorithm, meta, episodes, *, rtol=1e-6, atol=1e-8):
    """Compare both along one random direction."""
    gradient, _ = meta_gradient(algorithm, meta, episodes)
    draw = drawer(2)
    # a context starts at the same constant for every task: nothing is learned along it
    direction = {n: 0 * p if n.endswith("context") else draw(*p.shape) for n, p in meta.items()}
    up, down = (
        mean_meta_loss(
            algorithm, {n: p + s * STEP * direction[n] for n, p in meta.items()}, episodes
        )
        for s in (1, -1)
    )
    expected = sum((gradient[n] * direction[n]).sum() for n in meta)
    torch.testing.assert_close(expected, (up - down) / (2 * STEP), rtol=rtol, atol=atol)


def mean_meta_loss(algorithm, meta, episodes):
    """Task by task."""
    tasks = [tree_map(lambda x, t=t: x[t], episodes) for t in range(len(episodes.classes))]
    return torch.stack([algorithm.meta_loss(meta, task)[0] for task in tasks]).mean().detach()
