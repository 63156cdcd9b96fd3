"""Copy a model, for a thread or a trial."""

import copy
from collections.abc import Iterable

from torch import Tensor, nn
from torch.utils import _pytree as pytree


def copy_model(model: nn.Module, *, shared: Iterable[Tensor] = ()) -> nn.Module:
    """Copy a model; tensors that a graph produced (old hooks, kept activations) are detached.

    Args:
        model: any module.
        shared: tensors that the copy shares with the model.

    """
    memo: dict[int, object] = {id(tensor): tensor for tensor in shared}
    for module in model.modules():
        for tensor in pytree.tree_leaves(vars(module)):
            if isinstance(tensor, Tensor) and not tensor.is_leaf:
                memo.setdefault(id(tensor), tensor.detach().clone())
    # deepcopy keeps the shared tensors only by id; the model keeps them alive
    return copy.deepcopy(model, memo)
