"""The inner loop: how a learner adapts to one task."""

import math
from collections.abc import Iterator, Sequence

from metaloop.episode import Examples, count_rows
from metaloop.inner_loop.adjoint import Adjoint
from metaloop.inner_loop.inner_step import InnerStep
from metaloop.inner_loop.objective import Objective, Parameters
from metaloop.inner_loop.per_step import at_step
from metaloop.inner_loop.update import Update


def adapt(
    objective: Objective,
    theta: Parameters,
    support: Examples,
    *,
    names: Sequence[str],
    update: Update,
    adjoint: Adjoint,
    steps: int,
    own: Parameters,
    batch_size: int | None = None,
) -> Iterator[Parameters]:
    """Adapt theta to one task by gradient steps on its support set.

    phi_0 = theta and phi_{k+1} = update(phi_k, grad L(phi_k; support)) in the parameters `names`,
    the others staying theta, kept differentiable as the adjoint says. Finn et al. 2017
    (arXiv:1703.03400), eq. 1. `own` is what the algorithm learns beside theta.

    With batch_size each step sees so many of the support examples, in turns; see `minibatch`.

    Shapes (legend in episode.py):
        support.inputs   [S, *X]
        support.targets  [S] or [S, *Y]

    Yields:
        phi_0 .. phi_steps, one at a time: a path is held only by who collects it.

    """
    inner = InnerStep(objective, update)
    here = at_step(objective, theta, own, 0)  # theta, but for norms that differ step by step
    state = update.start({name: here[name] for name in names})
    yield {**here, **state.phi}
    for step in range(steps):
        seen = support if batch_size is None else minibatch(support, batch_size, step)
        state = adjoint.step(inner, state, here, own, seen, step)
        here = at_step(objective, theta, own, step + 1)
        yield {**here, **state.phi}


def minibatch(support: Examples, size: int, step: int) -> Examples:
    """The step's share of the support set: `size` examples, going round and round.

    The examples stand sorted by class, in an order that the episode drew. Going through them
    with a stride near S / size spreads each minibatch over the classes. (Nichol et al. 2018 draw
    minibatches at random; the episode's own order is the chance here.)
    """
    examples = count_rows(support.inputs)
    if size >= examples:
        return support
    strides = [s for s in range(1, examples) if math.gcd(s, examples) == 1]
    stride = min(strides, key=lambda s: (abs(s - examples / size), -s))
    rows = [(stride * (step * size + i)) % examples for i in range(size)]
    return support.map(lambda tensor: tensor[rows])
