"""Random draws in a meta-step (dropout) depend on the step alone: a resumed run repeats them."""

import hashlib

import torch


def seed_step(seed: int, meta_step: int, rank: int, device: torch.device) -> None:
    """Seed the generators that dropout and its like draw from, on the CPU and on this device.

    Not by torch.manual_seed: it asks about every kind of device, which takes longer than a small
    meta-step, and remembers each call while CUDA is not in use.
    """
    text = f"{seed} {meta_step} {rank}".encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)
