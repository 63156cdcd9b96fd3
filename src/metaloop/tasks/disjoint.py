"""Episodes that share no example: what an open interval is over.

Lafargue et al. 2024 (arXiv:2409.02850): episodes that draw the same images again and again show the
sampler's randomness alone; without replacement they are independent draws of the data too.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metaloop.tasks.random_streams import RandomStreams, Split

ORDER, CHOICE = 3, 4  # purposes of streams; shapes and mixtures have others


class Deal(NamedTuple):
    """The examples that each episode is made of, every one at most once.

    Shapes: E episodes; N groups and M members of the largest, which smaller ones leave unused
        groups  [E, N]     positions among the split's groups (classes, data sets)
        members [E, N, M]  positions among each group's examples
        N and M are 0 where episodes are of fresh data
    """

    groups: Tensor
    members: Tensor


class DisjointStreams(RandomStreams):
    """Random streams of episodes that pick what they were dealt."""

    def __init__(self, seed: int, split: Split, indices: Tensor, deal: Deal) -> None:
        super().__init__(seed, split, indices)
        self._groups, self._members = (part[indices] for part in deal)

    def pick(self, sizes: Tensor, *, groups: int, members: int) -> tuple[Tensor, Tensor]:
        return self._groups[:, :groups], self._members[:, :groups, :members]


def deal_fresh(indices: Tensor) -> Deal:
    """Deal nothing: episodes whose data are drawn anew share none."""
    return Deal(indices.new_empty(len(indices), 0), indices.new_empty(len(indices), 0, 0))


def deal_examples(
    sizes: Tensor, groups: Tensor, members: Tensor, seed: int, split: Split, indices: Tensor
) -> Deal:
    """Deal the examples of a split to episodes, in their order, to the first that lacks some.

    An episode's groups are chosen at random among those that have enough left. It is a pure
    function of the arguments: every process deals the same.

    Shapes:
        sizes   [G]  examples of each group
        groups  [T]  how many groups each episode takes
        members [T]  how many examples of each of them
        indices [T]  the numbers of the episodes within (seed, split)
    """
    most = max(1, int(sizes.sum()) // int((groups * members).min()))
    own = RandomStreams(seed, split, indices[:most]).of_blocks(1, CHOICE)
    orders = own.uniform(len(sizes)).argsort(1).numpy()
    taken = np.zeros((len(orders), int(groups.max())), dtype=np.int64)
    places = np.zeros((*taken.shape, int(members.max())), dtype=np.int64)
    used, episodes = np.zeros(len(sizes), dtype=np.int64), 0
    needs = zip(groups.tolist(), members.tolist(), strict=True)
    for episode, (order, (ways, count)) in enumerate(zip(orders, needs, strict=False)):
        has_enough = sizes.numpy() - used >= count
        chosen = order[has_enough[order]][:ways]
        if len(chosen) < ways:
            break
        taken[episode, :ways] = chosen
        places[episode, :ways, :count] = used[chosen, None] + np.arange(count)
        used[chosen] += count
        episodes += 1
    taken, places = taken[:episodes], places[:episodes]
    first = (sizes.cumsum(0) - sizes).numpy()
    shuffled = _shuffle_members(sizes, seed, split)[first[taken][..., None] + places]
    return Deal(torch.from_numpy(taken), shuffled)


def join_deals(parts: Iterable[tuple[Tensor, Deal]]) -> Deal:
    """Join what several families deal, to the first episode that one of them has too little for.

    Args:
        parts: of each family the places of its episodes among all, ascending, and its deal.

    """
    parts = list(parts)
    ends = [int(mine[len(d.groups)]) for mine, d in parts if len(d.groups) < len(mine)]
    episodes = min(ends, default=sum(len(mine) for mine, _ in parts))
    ways, count = (max(d.members.shape[axis] for _, d in parts) for axis in (1, 2))
    groups = torch.zeros(episodes, ways, dtype=torch.int64)
    members = torch.zeros(episodes, ways, count, dtype=torch.int64)
    for places, deal in parts:
        mine, (own_ways, own_count) = places[places < episodes], deal.members.shape[1:]
        groups[mine, :own_ways] = deal.groups[: len(mine)]
        members[mine, :own_ways, :own_count] = deal.members[: len(mine)]
    return Deal(groups, members)


def _shuffle_members(sizes: Tensor, seed: int, split: Split) -> Tensor:
    """The positions 0..size-1 of each group's examples in random order, group after group."""
    group = torch.arange(len(sizes)).repeat_interleave(sizes)
    common = RandomStreams(seed, split, torch.zeros(1, dtype=torch.int64)).of_blocks(1, ORDER)
    order = np.lexsort((common.uniform(len(group))[0].numpy(), group.numpy()))
    return torch.from_numpy(order) - (sizes.cumsum(0) - sizes)[group]
