"""The mode that replaces torch functions by exact ones. Only `Objective` enters it."""

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import metaloop.substitutes.activations as activations
import metaloop.substitutes.attention as attention
import metaloop.substitutes.batch_norm as batch_norm
import metaloop.substitutes.ctc as ctc
import metaloop.substitutes.distances as distances
import metaloop.substitutes.embedding as embedding
import metaloop.substitutes.losses as losses
import metaloop.substitutes.max_pool as max_pool
import metaloop.substitutes.norms as norms
import metaloop.substitutes.recurrent as recurrent
import metaloop.substitutes.sampling as sampling
import metaloop.substitutes.weight_norm as weight_norm
from metaloop.substitutes.batch_norm import BatchNorms
from metaloop.substitutes.transforms import (
    is_forward_mode,
    is_vectorised_and_recorded,
    is_vmapped,
)

Function = Callable[..., object]
Rows = Mapping[Function, Function]
# Where each substitute acts; elsewhere torch's version is exact, and faster.
ALWAYS: Rows = {
    **activations.ALWAYS,
    **attention.ALWAYS,
    **batch_norm.ALWAYS,
    **ctc.ALWAYS,
    **distances.ALWAYS,
    **embedding.ALWAYS,
    **losses.ALWAYS,
    **max_pool.ALWAYS,
    **norms.ALWAYS,
    **weight_norm.ALWAYS,
}
# autograd differentiates a vmapped gradient
VECTORISED: Rows = {**activations.VECTORISED, **norms.VECTORISED}
VMAPPED: Rows = {**activations.VMAPPED, **embedding.VMAPPED, **recurrent.VMAPPED}  # any vmap
# forward mode
FORWARD: Rows = {
    **activations.FORWARD,
    **losses.FORWARD,
    **recurrent.FORWARD,
    **sampling.FORWARD,
}
CUDNN: Rows = recurrent.CUDNN  # on a GPU, where a gradient is recorded
REPLACED = frozenset(ChainMap(*map(dict, (ALWAYS, VECTORISED, VMAPPED, FORWARD, CUDNN))))


class Substitutes(TorchFunctionMode):
    """Replace torch functions that are wrong or unsupported in second order or under vmap.

    Entered around a call of the network, and around loss and metrics. Never nested, and never
    held across a `yield`. It is off inside torch.autograd.grad and inside a substitute.

    Args:
        batch_norms: normalisation of the batch norms inside.

    """

    def __init__(self, batch_norms: BatchNorms | None = None) -> None:
        super().__init__()
        self.batch_norms = batch_norms

    def __torch_function__(
        self,
        func: Function,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        named = kwargs or {}
        if func is F.batch_norm and self.batch_norms is not None:
            return self.batch_norms(*args, **named)  # type: ignore[arg-type]
        if func in REPLACED:
            return _substitute(func, _tensors(args, named))(*args, **named)
        return func(*args, **named)


def _substitute(func: Function, tensors: Sequence[Tensor]) -> Function:
    """Find the function to call in place of `func` here; `func` itself where that is exact."""
    if func in VECTORISED and is_vectorised_and_recorded(tensors):
        return VECTORISED[func]
    if func in VMAPPED and is_vmapped():
        return VMAPPED[func]
    if func in FORWARD and is_forward_mode():
        return FORWARD[func]
    if func in CUDNN and any(t.is_cuda for t in tensors):
        return CUDNN[func]
    return ALWAYS.get(func, func)


def _tensors(args: Sequence[object], kwargs: Mapping[str, object]) -> list[Tensor]:
    """Collect the tensors among the arguments, also from lists and tuples."""
    found: list[Tensor] = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [v for v in value if isinstance(v, Tensor)]
    return found
