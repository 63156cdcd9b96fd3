"""Seed the randomness of a meta-step (dropout) by its number, so that a resumed run repeats it."""

import hashlib

import torch


def seed_step(seed: int, meta_step: int, rank: int, device: torch.device) -> None:
    """Seed the default generators of the CPU and of this device.

    torch.manual_seed checks every kind of device, which takes longer than a small meta-step, and
    stores each call until CUDA is used.
    """
    text = f"{seed} {meta_step} {rank}".encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)
