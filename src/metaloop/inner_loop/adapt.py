"""The inner loop: adapt a learner to one task by gradient steps."""

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

    phi_0 = theta and phi_{k+1} = update(phi_k, grad L(phi_k; support)) for the parameters `names`;
    the others stay theta. The adjoint decides how the path is differentiable. Finn et al. 2017
    (arXiv:1703.03400), eq. 1. `own` holds the algorithm's learned parameters.

    With batch_size each step uses a minibatch of the support set; see `minibatch`.

    Shapes (legend in episode.py):
        support.inputs   [S, *X]
        support.targets  [S] or [S, *Y]

    Yields:
        phi_0 .. phi_steps, one at a time, so that only callers who collect them store the path.

    """
    inner = InnerStep(objective, update)
    here = at_step(objective, theta, own, 0)  # theta, with this step's norm parameters
    state = update.start({name: here[name] for name in names})
    yield {**here, **state.phi}
    for step in range(steps):
        seen = support if batch_size is None else minibatch(support, batch_size, step)
        state = adjoint.step(inner, state, here, own, seen, step)
        here = at_step(objective, theta, own, step + 1)
        yield {**here, **state.phi}


def minibatch(support: Examples, size: int, step: int) -> Examples:
    """Select this step's `size` support examples, cycling through the set.

    The examples are sorted by class, in the episode's random order. A stride near S / size spreads
    each minibatch over the classes. (Nichol et al. 2018 sample minibatches; here only the episode's
    order is random.)
    """
    examples = count_rows(support.inputs)
    if size >= examples:
        return support
    strides = [s for s in range(1, examples) if math.gcd(s, examples) == 1]
    stride = min(strides, key=lambda s: (abs(s - examples / size), -s))
    rows = [(stride * (step * size + i)) % examples for i in range(size)]
    return support.map(lambda tensor: tensor[rows])
