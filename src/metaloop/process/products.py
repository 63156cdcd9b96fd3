"""How torch rounds products of float32 in this process: in full precision, or less."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def round_products(precision: str) -> None:
    """Set torch's float32 matmul precision, for cuDNN's convolutions too.

    By default these round to TF32, whatever matrix products do.
    """
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = precision != "highest"


@contextmanager
def keep_rounding() -> Iterator[None]:
    """Restore afterwards how products were rounded before."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
