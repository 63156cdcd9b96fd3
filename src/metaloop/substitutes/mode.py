"""The mode in which torch functions are replaced by exact ones, entered by `Objective` alone."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from metaloop.substitutes.batch_norm import BatchNorms
from metaloop.substitutes.max_pool import max_pool2d
from metaloop.substitutes.transforms import is_vectorised_and_recorded

Function = Callable[..., object]
ALWAYS: Mapping[Function, Function] = {F.max_pool2d: max_pool2d, torch.max_pool2d: max_pool2d}
# exact in torch as well, and faster there, but where several tasks are vectorised and recorded
VECTORISED: Mapping[Function, Function] = {}


class Substitutes(TorchFunctionMode):
    """Replace torch functions that are inexact or missing in second order or under vmap.

    Entered around a call of the network, and around loss and metrics; never nested, and never
    across a `yield`: torch.autograd.grad and what a substitute calls run with the mode off.

    Args:
        norms: how batch norms normalise inside.

    """

    def __init__(self, norms: BatchNorms | None = None) -> None:
        super().__init__()
        self.norms = norms

    def __torch_function__(
        self,
        func: Function,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        named = kwargs or {}
        if func is F.batch_norm and self.norms is not None:
            return self.norms(*args, **named)  # type: ignore[arg-type]
        if (substitute := ALWAYS.get(func)) is not None:
            return substitute(*args, **named)
        substitute = VECTORISED.get(func)
        if substitute is not None and is_vectorised_and_recorded(_tensors(args, named)):
            return substitute(*args, **named)
        return func(*args, **named)


def _tensors(args: Sequence[object], kwargs: Mapping[str, object]) -> list[Tensor]:
    """The tensors among some arguments, and in lists and tuples of them."""
    found: list[Tensor] = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [v for v in value if isinstance(v, Tensor)]
    return found
