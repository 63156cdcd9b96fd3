"""Count which classes are mistaken for which, over the episodes of an evaluation."""

from typing import NamedTuple

import torch
from torch import Tensor

from metaloop.training.episode_values import NONE, Answered


class Confusion(NamedTuple):
    """Counts over all query examples, by global class.

    Shapes: C classes that appeared, P ordered pairs of classes of one episode
        classes       [C]     global ids, ascending
        seen, right   [C]     query examples of a class, and those predicted correctly
        pairs         [P, 2]  true class and another, as positions in `classes`
        met, mistaken [P]     number of times the other was a choice, and was chosen
    """

    classes: Tensor
    seen: Tensor
    right: Tensor
    pairs: Tensor
    met: Tensor
    mistaken: Tensor


def count_confusion(answered: Answered) -> Confusion:
    """Count predictions by true class and by pair of true class and other choice."""
    is_class, is_asked = answered.classes != NONE, answered.targets != NONE
    classes = torch.unique(answered.classes[is_class])
    position = torch.searchsorted(classes, answered.classes)
    number, ways = len(classes), position.shape[1]
    true = position.gather(1, answered.targets.clamp(min=0))
    is_right = (answered.answers == answered.targets) & is_asked
    seen = true[is_asked].bincount(minlength=number)
    right = true[is_right].bincount(minlength=number)
    # every query example with every choice of its episode, [T, N*Q, N]
    choice = position[:, None, :].expand(-1, true.shape[1], -1)
    labels = torch.arange(ways)
    is_offered = is_class[:, None, :] & is_asked[..., None]
    is_other = (labels != answered.targets[..., None]) & is_offered
    is_chosen = labels == answered.answers[..., None]
    pair = (true[..., None] * number + choice)[is_other]
    keys, which = torch.unique(pair, return_inverse=True)
    met = which.bincount(minlength=len(keys))
    mistaken = which[is_chosen[is_other]].bincount(minlength=len(keys))
    pairs = torch.stack([keys // number, keys % number], 1)
    return Confusion(classes, seen, right, pairs, met, mistaken)


def rows_of(confusion: Confusion) -> list[tuple[int, int, int, int]]:
    """Return (true id, mistaken for id, times, met) of confused pairs, the most frequent first.

    Equally frequent pairs are sorted by `met`, ascending.
    """
    order = sorted(
        confusion.mistaken.nonzero()[:, 0].tolist(),
        key=lambda p: (-int(confusion.mistaken[p]), int(confusion.met[p])),
    )
    ids = confusion.classes[confusion.pairs]
    return [
        (int(ids[p, 0]), int(ids[p, 1]), int(confusion.mistaken[p]), int(confusion.met[p]))
        for p in order
    ]
