"""Save and restore the state of torch's random number generators."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def keep_random_state(device: torch.device) -> Iterator[None]:
    """Restore the RNG state afterwards, on the CPU and on this device.

    Other GPUs are not touched: they belong to other processes.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        yield
