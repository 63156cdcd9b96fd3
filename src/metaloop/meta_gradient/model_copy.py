"""A copy of a model, for a thread or a trial of its own."""

import copy
from collections.abc import Iterable

from torch import Tensor, nn
from torch.utils import _pytree as pytree


def copy_model(model: nn.Module, *, shared: Iterable[Tensor] = ()) -> nn.Module:
    """Copy a model; of tensors that a graph made (old hooks, kept activations) only the values.

    Args:
        model: any module.
        shared: tensors that the copy holds themselves.

    """
    memo: dict[int, object] = {id(tensor): tensor for tensor in shared}
    for module in model.modules():
        for tensor in pytree.tree_leaves(vars(module)):
            if isinstance(tensor, Tensor) and not tensor.is_leaf:
                memo.setdefault(id(tensor), tensor.detach().clone())
    # deepcopy keeps no reference to what only the memo holds by id: the model does, for both
    return copy.deepcopy(model, memo)
