"""Chance inside a meta-step is a function of the step: a resumed run repeats it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_step(seed: int, meta_step: int, rank: int, device: torch.device) -> None:
    """Seed what dropout and its like draw from, on the processor and on this device.

    Not by torch.manual_seed: it asks about every kind of device, which takes longer than a small
    meta-step, and remembers each call while CUDA is not in use.
    """
    place = f"{seed} {meta_step} {rank}".encode()
    number = int.from_bytes(hashlib.blake2b(place, digest_size=8).digest()) >> 1
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)


@contextmanager
def untouched_chance(device: torch.device) -> Iterator[None]:
    """What follows sees no trace of what was drawn inside, on the processor and on this device.

    Of several GPUs only this one is asked: the others are other processes'.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        yield
