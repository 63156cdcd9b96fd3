"""Random numbers are a pure function of (seed, split, index)."""

import numpy as np
import pytest
import torch

from metaloop.tasks import SPLITS, RandomStreams
from metaloop.tasks.random_streams import philox


def streams(*indices: int, seed: int = 0, split: str = "train") -> RandomStreams:
    return RandomStreams(seed, split, torch.tensor(indices))


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known answers of Salmon et al.'s Random123, kat_vectors, philox4x32-10
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (
            [0xFFFFFFFF] * 4,
            (0xFFFFFFFF, 0xFFFFFFFF),
            [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
        ),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_known_answers(counter, key, expected):
    words = philox(np.array(counter, dtype=np.uint64)[:, None], key)
    assert words[:, 0].tolist() == expected


def test_an_episode_does_not_depend_on_the_rest_of_its_batch():
    together, alone = streams(3, 900_000_000_000, 7), streams(900_000_000_000)
    for one, many in (
        (alone.uniform(5), together.uniform(5)),
        (alone.choose(2, count=3, population=9), together.choose(2, count=3, population=9)),
        (alone.integers(4, high=100), together.integers(4, high=100)),
    ):
        assert torch.equal(one[0], many[1])


def test_seeds_splits_indices_and_calls_have_streams_of_their_own():
    draws = [
        streams(i, seed=s, split=split).uniform(8)
        for i in (0, 1)
        for s in (0, 1)
        for split in SPLITS
    ]
    second_call = streams(0)
    second_call.uniform(8)
    numbers = torch.cat([*draws, second_call.uniform(8)]).flatten()
    assert len(numbers.unique()) == len(numbers)


def test_uniform_numbers_fill_their_interval():
    numbers = streams(*range(200)).uniform(50, low=-5.0, high=5.0)
    assert numbers.min() > -5
    assert numbers.max() < 5
    # the mean of n uniforms on an interval of width w has deviation w / sqrt(12 n)
    assert abs(numbers.mean()) < 5 * 10 / (12 * numbers.numel()) ** 0.5


def test_integers_are_below_their_bound_and_reach_all_of_it():
    numbers = streams(*range(100)).integers(10, high=7)
    assert numbers.unique().tolist() == list(range(7))


def test_chosen_numbers_differ_and_every_ordered_choice_is_equally_likely():
    chosen = streams(*range(2000)).choose(30, count=2, population=4).flatten(0, 1)
    assert (chosen[:, 0] != chosen[:, 1]).all()
    counts = torch.bincount(chosen[:, 0] * 4 + chosen[:, 1], minlength=16).reshape(4, 4)
    ordered_pairs = counts[~torch.eye(4, dtype=torch.bool)].double()
    expected = len(chosen) / 12
    chi_square = ((ordered_pairs - expected) ** 2 / expected).sum()
    assert chi_square < 31.3  # 11 degrees of freedom, p = 0.001


def test_choosing_all_is_a_permutation():
    chosen = streams(*range(50)).choose(count=20, population=20)
    assert torch.equal(chosen.sort(-1).values, torch.arange(20).expand(50, 20))
    assert len(chosen.unique(dim=0)) == 50


def test_normal_numbers_have_the_normal_distribution_one_for_each_uniform():
    numbers = streams(*range(100)).normal(1000)
    assert numbers.shape == (100, 1000)
    assert abs(float(numbers.mean())) < 0.01
    assert float(numbers.std()) == pytest.approx(1, abs=0.01)
    for threshold, share in ((0.6745, 0.5), (1.96, 0.95)):
        assert float((numbers.abs() < threshold).double().mean()) == pytest.approx(share, abs=0.005)
    assert torch.equal(numbers > 0, streams(*range(100)).uniform(1000) > 0.5)
