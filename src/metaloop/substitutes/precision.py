"""Full precision for what half precision would round too early."""

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def full_precision(x: Tensor) -> Tensor:
    """Half precision as float32; everything else as it is."""
    return x.float() if x.dtype in HALF else x
