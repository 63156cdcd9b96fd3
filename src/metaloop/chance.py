"""Chance inside a meta-step is a function of the step: a resumed run repeats it."""

import hashlib

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
