"""The memory that tensors take, counted operation by operation."""

import weakref

import torch


class Peak(torch.utils._python_dispatch.TorchDispatchMode):
    """Sums the storage of live tensors after every operation and keeps the largest sum."""

    def __init__(self):
        super().__init__()
        self.live, self.largest = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                try:
                    key = storage.data_ptr()
                except RuntimeError:  # a functorch wrapper: what it wraps is counted
                    continue
                if key not in self.live:
                    self.live[key] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, key, None)
        self.largest = max(self.largest, sum(self.live.values()))
        return result
