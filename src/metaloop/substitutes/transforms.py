"""Find the function transforms around an operation, hence the derivatives it will need."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch._C import _functorch

_VMAP, _JVP, _GRAD = (
    _functorch.TransformType.Vmap,
    _functorch.TransformType.Jvp,
    _functorch.TransformType.Grad,
)
# Minimum elements of one task (twice as many for several tasks together) for which a custom
# backward saves more than it costs, measured on Conv4 with images of 14 x 14 to 84 x 84.
LARGE = 2**16


def tasks_together() -> int:
    """Count the tasks vectorised here; 0 in forward mode and in a vmap inside a vmap.

    Where it is not 0, only reverse mode differentiates, so torch's kernels and custom backwards
    can be used.
    """
    sizes = [1]
    for transform in _functorch.get_interpreter_stack() or ():
        if transform.key() == _JVP:
            return 0
        if transform.key() == _VMAP:
            sizes.append(_functorch.CVmapInterpreterPtr(transform).batchSize())
    return sizes[-1] if len(sizes) <= 2 else 0


def is_large(elements: int) -> bool:
    """Check whether each task has enough elements to pay for a custom backward."""
    tasks = tasks_together()
    return elements >= LARGE if tasks == 1 else tasks * elements >= 2 * LARGE


def is_vectorised_and_recorded(tensors: Iterable[object]) -> bool:
    """Check whether autograd will differentiate a vmapped gradient of this operation.

    In that nesting (autograd over vmap over grad) torch's norms have a wrong second derivative.
    """
    keys = [transform.key() for transform in _functorch.get_interpreter_stack() or ()]
    if _VMAP not in keys or _GRAD not in keys[keys.index(_VMAP) :]:
        return False
    return any(_records(t) for t in tensors if isinstance(t, Tensor))


def _records(tensor: Tensor) -> bool:
    """Check whether the innermost tensor, below all transforms' wrappers, requires a gradient."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor.requires_grad


def is_vmapped() -> bool:
    """Check whether an enclosing vmap vectorises this operation."""
    return any(t.key() == _VMAP for t in _functorch.get_interpreter_stack() or ())


def is_forward_mode() -> bool:
    """Check whether forward mode differentiates here."""
    stack = _functorch.get_interpreter_stack() or ()
    return any(transform.key() == _JVP for transform in stack) or (
        torch.autograd.forward_ad._current_level >= 0
    )
