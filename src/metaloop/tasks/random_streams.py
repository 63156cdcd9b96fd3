"""Random numbers as a pure function of (seed, split, episode index)."""

import copy
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_LOW, _BITS = np.uint64(0xFFFFFFFF), np.uint64(32)
Words = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Encrypt 128-bit counters into 128 random bits each, vectorised.

    Philox4x32-10 of Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3") has no
    state, so it computes any number of any stream without those before it.

    Shapes:
        counter [4, ...]  32-bit words in uint64; the result has the same shape.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        left, right = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (right >> _BITS) ^ c1 ^ k0,
            right & _LOW,
            (left >> _BITS) ^ c3 ^ k1,
            left & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return np.stack([c0, c1, c2, c3])


class RandomStreams:
    """Random numbers for some episodes, drawn for all at once.

    Each episode has its own stream, which does not depend on the other episodes drawn with it.
    Successive calls advance the streams, so the order of calls matters.

    Shapes:
        indices [T]  the episodes' indices within (seed, split)

    Examples:
        >>> import torch
        >>> from metaloop import RandomStreams
        >>> together = RandomStreams(0, "train", torch.tensor([3, 7])).uniform(2)
        >>> alone = RandomStreams(0, "train", torch.tensor([7])).uniform(2)
        >>> torch.equal(together[1], alone[0])  # whatever else is drawn with episode 7
        True

    """

    def __init__(self, seed: int, split: Split, indices: Tensor) -> None:
        self._key = (seed & 0xFFFFFFFF, seed >> 32)
        self._index = indices.numpy().astype(np.uint64)
        self._split = np.uint64(SPLITS.index(split))
        self._used = 0
        self.episodes = len(indices)

    def of_blocks(self, size: int, purpose: int = 1) -> Self:
        """Return streams shared by `size` consecutive episodes, separate from their own.

        Each purpose (1, 2 ..) has separate streams.
        """
        blocks = copy.copy(self)
        blocks._index = self._index // np.uint64(size)
        blocks._split = self._split + np.uint64(purpose * len(SPLITS))
        blocks._used = 0
        return blocks

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw numbers from the open interval (low, high), float64 [T, *shape]."""
        fraction = (self._words(*shape).astype(np.float64) + 0.5) * 2.0**-32
        return torch.from_numpy(low + (high - low) * fraction)

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers, by the inverse of Phi from uniform ones, [T, *shape]."""
        normal: Tensor = torch.special.ndtri(self.uniform(*shape))
        return normal

    def integers(self, *shape: int, high: int) -> Tensor:
        """Draw integers 0..high-1, int64 [T, *shape]; high < 2**32, bias below high / 2**32."""
        return torch.from_numpy(_below(self._words(*shape), high))

    def choose(self, *shape: int, count: int, population: int | Tensor) -> Tensor:
        """Draw `count` different integers 0..population-1 in random order, [T, *shape, count].

        A population [T, *shape] gives each choice its own. Uses Floyd's algorithm (Bentley and
        Floyd 1987), whose cost does not grow with the population; the result is shuffled, since its
        order is not uniform.
        """
        sizes = np.asarray(population)
        assert count <= sizes.min()
        words = self._words(*shape, 2 * count)
        chosen = np.empty((*words.shape[:-1], count), dtype=np.int64)
        for i in range(count):
            largest = sizes - count + i
            pick = _below(words[..., i], largest + 1)
            is_taken = (chosen[..., :i] == pick[..., None]).any(axis=-1)
            chosen[..., i] = np.where(is_taken, largest, pick)
        order = words[..., count:].argsort(axis=-1, kind="stable")
        return torch.from_numpy(np.take_along_axis(chosen, order, axis=-1))

    def pick(self, sizes: Tensor, *, groups: int, members: int) -> tuple[Tensor, Tensor]:
        """Choose different groups (classes, data sets) of a split, and different examples of each.

        Shapes:
            sizes   [G]                   number of examples of each group
            chosen  [T, groups]           positions of groups
            members [T, groups, members]  positions of each chosen group's examples
        """
        chosen = self.choose(count=groups, population=len(sizes))
        return chosen, self.choose(groups, count=members, population=sizes[chosen])

    def _words(self, *shape: int) -> Words:
        """Return the next 32-bit words of every stream, uint64 [T, *shape]."""
        count = int(np.prod(shape))
        blocks = -(-count // 4)
        counter = np.empty((4, self.episodes, blocks), dtype=np.uint64)
        counter[0] = np.arange(self._used, self._used + blocks, dtype=np.uint64)
        counter[1], counter[2] = (self._index & _LOW)[:, None], (self._index >> _BITS)[:, None]
        counter[3] = self._split
        self._used += blocks
        words = philox(counter, self._key).transpose(1, 2, 0).reshape(self.episodes, -1)
        return words[:, :count].reshape(self.episodes, *shape)


def _below(words: Words, high: int | Integers) -> Integers:
    return ((words * np.asarray(high, dtype=np.uint64)) >> _BITS).astype(np.int64)
