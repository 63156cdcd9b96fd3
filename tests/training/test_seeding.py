"""The randomness of a meta-step is a function of seed, meta-step and rank."""

import torch

from metaloop.training.seeding import seed_step

CPU = torch.device("cpu")


def drawn(*place: int) -> list[float]:
    seed_step(*place, CPU)
    return torch.rand(4).tolist()


def test_a_step_repeats_its_numbers_and_shares_them_with_no_other():
    with torch.random.fork_rng():
        first = drawn(0, 7, 0)
        torch.rand(100)
        assert drawn(0, 7, 0) == first
        others = [drawn(*place) for place in ((1, 7, 0), (0, 8, 0), (0, 7, 1), (0, 0, 70))]
    assert all(first != other for other in others)
