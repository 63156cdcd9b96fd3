"""What one task looks like to a learner, and THE shape legend of the whole package.

    T   tasks in a meta-batch           N   ways: classes in an episode
    K   shots: support images a class   Q   queries: query images a class
    S   support examples, N*K           X   input shape, for example (1, 28, 28)

    support.inputs  [T, S, *X]          support.targets  [T, S] classes 0..N-1,
    query.inputs    [T, N*Q, *X]                         or [T, S, *Y] in regression
    classes         [T, N] global class ids ([T, 0] in regression)

Inputs may be a dict of tensors with the same leading dimensions, which a network takes by name:
`network(**inputs)`.

Where ways and shots vary, S is the sum of the classes' shots, and a meta-batch is a list of such,
one for each shape.

Inside the functions of one task T is gone. In the inner loop K also counts inner steps, as in
the papers: phi_0 .. phi_K.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor

Inputs = Tensor | dict[str, Tensor]


class Examples(NamedTuple):
    """Inputs with their targets, of one task or of T tasks.

    Shapes:
        inputs  [S, *X] or [T, S, *X], a tensor or a dict of tensors by the network's names
        targets [S] or [T, S], classes 0..N-1; in regression [S, *Y] or [T, S, *Y]

    Examples:
        >>> import torch
        >>> from metaloop import Examples
        >>> examples = Examples(torch.zeros(6, 1, 28, 28), torch.tensor([0, 0, 1, 1, 2, 2]))
        >>> [tuple(tensor.shape) for tensor in examples.tensors]
        [(6, 1, 28, 28), (6,)]

    """

    inputs: Inputs
    targets: Tensor

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, the targets last."""
        return [*tensors_of(self.inputs), self.targets]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Examples":
        """Apply a function to every tensor."""
        return Examples(map_inputs(function, self.inputs), function(self.targets))


class Episode(NamedTuple):
    """One task's support and query set, or a whole meta-batch of them.

    Shapes: N ways, K shots, Q query examples per class
        support [N*K, ..]  the examples that a learner adapts to
        query   [N*Q, ..]  the examples by which it is judged
        classes [N]        global class ids; [0] in regression

    In a meta-batch each begins with T, the tasks.

    Examples:
        >>> import torch
        >>> from metaloop import RandomStreams, Sinusoid
        >>> task = Sinusoid(shots=5, queries=10)
        >>> episodes = task.draw("train", RandomStreams(0, "train", torch.arange(4)))
        >>> episodes.support.inputs.shape, episodes.query.inputs.shape, episodes.classes.shape
        (torch.Size([4, 5, 1]), torch.Size([4, 10, 1]), torch.Size([4, 0]))

    """

    support: Examples
    query: Examples
    classes: Tensor


Episodes = Episode | list[Episode]


def of_one_shape(episodes: Episodes) -> list[Episode]:
    """A meta-batch in groups of tasks of one shape."""
    return episodes if isinstance(episodes, list) else [episodes]


def tensors_of(inputs: Inputs) -> list[Tensor]:
    """The tensor, or those of a dict in its order."""
    return [inputs] if isinstance(inputs, Tensor) else list(inputs.values())


def the_tensor(inputs: Inputs) -> Tensor:
    """Inputs that are known to be one tensor."""
    assert isinstance(inputs, Tensor)
    return inputs


def map_inputs(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Apply a function to the tensor, or to each of a dict."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    return {name: function(tensor) for name, tensor in inputs.items()}


def count_rows(inputs: Inputs) -> int:
    """How many examples of one task there are."""
    return len(tensors_of(inputs)[0])


def count_elements(inputs: Inputs) -> int:
    """How many elements all tensors have."""
    return sum(tensor.numel() for tensor in tensors_of(inputs))


def concatenate_rows(one: Inputs, other: Inputs) -> Inputs:
    """The examples of two sets of one task."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.cat([one, other])
    others = cast(dict[str, Tensor], other)
    return {n: torch.cat([t, others[n]]) for n, t in cast(dict[str, Tensor], one).items()}
