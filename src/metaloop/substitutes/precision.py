"""Float32 for operations that would lose too much in half precision."""

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def full_precision(x: Tensor) -> Tensor:
    """Convert half precision to float32; return everything else unchanged."""
    return x.float() if x.dtype in HALF else x
