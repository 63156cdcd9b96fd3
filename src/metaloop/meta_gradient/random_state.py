"""The state of torch's random number generators around trials and comparisons."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def keep_random_state(device: torch.device) -> Iterator[None]:
    """Restore the RNG state afterwards, on the CPU and on this device.

    Of several GPUs only this one is asked: the others belong to other processes.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        yield
