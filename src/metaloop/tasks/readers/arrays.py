"""Convert a user's arrays, in numpy, torch or lists, to tensors."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from metaloop.errors import UserError

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]
Rows = Array | Tensor | Sequence[object]
Arrays = Rows | Mapping[str, Rows]
Labels = Array | Tensor | Sequence[Hashable]


def to_tensor(values: Rows | Labels, name: str) -> Tensor:
    """Copy rows of numbers into a tensor.

    Raises:
        UserError: if there are no rows, or a value is not a number.

    """
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        if array.dtype.kind not in "buif":
            raise UserError(f"{name} has {array.dtype} values, but numbers are needed.")
        values = torch.tensor(array)  # a copy: the user's array is not changed
    if not len(values):
        raise UserError(f"{name} has no rows. Pass at least one example.")
    return values
