"""What one task looks like to a learner, and THE shape legend of the whole package.

    T   tasks in a meta-batch           N   ways: classes in an episode
    K   shots: support images a class   Q   queries: query images a class
    S   support examples, N*K           X   input shape, for example (1, 28, 28)

    support.inputs  [T, S, *X]          support.targets  [T, S] classes 0..N-1,
    query.inputs    [T, N*Q, *X]                         or [T, S, *Y] in regression
    classes         [T, N] global class ids ([T, 0] in regression)

Where ways and shots vary, S is the sum of the classes' shots, and a meta-batch is a list of such,
one for each shape.

Inside the functions of one task T is gone. In the inner loop K also counts inner steps, as in
the papers: phi_0 .. phi_K.
"""

from typing import NamedTuple

from torch import Tensor


class Examples(NamedTuple):
    """Inputs with their targets; shapes in the legend above."""

    inputs: Tensor
    targets: Tensor


class Episode(NamedTuple):
    """One task's support and query set, or a whole meta-batch of them."""

    support: Examples
    query: Examples
    classes: Tensor


Episodes = Episode | list[Episode]


def of_one_shape(episodes: Episodes) -> list[Episode]:
    """A meta-batch in groups of tasks of one shape."""
    return episodes if isinstance(episodes, list) else [episodes]
