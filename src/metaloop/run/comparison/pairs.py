"""Two learners' values in pairs: of the same test episode, and of runs with the same seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metaloop.errors import UserError
from metaloop.run.comparison.episodes import Values
from metaloop.run.comparison.learners import Learner, Member


class Pairs(NamedTuple):
    """The values of learners a and b in pairs, over episodes or over seeds."""

    a: Learner
    b: Learner
    over: str
    values: tuple[Values, Values]


def pair_up(a: Learner, b: Learner) -> list[Pairs]:
    """Pair what two learners have in common: episodes, and seeds where those are two or more.

    An episode is weighed once, by its mean over the runs tested on it; a seed by its mean over
    episodes. Learners that share no training seed are paired by episodes alone.

    Raises:
        UserError: they were not tested on the same episodes.

    """
    matched = list(_matched(a, b).values())
    runs = matched or [_means(a, b)]
    by_episodes: dict[int, list[tuple[Values, Values]]] = {}
    for one, other in runs:
        values = by_episodes.setdefault(one.evaluated.episode_seed, [])
        values.append((one.values, other.values))
    episodes = np.concatenate([np.mean(v, axis=0) for v in by_episodes.values()], axis=1)
    found = [Pairs(a, b, "episodes", (episodes[0], episodes[1]))]
    if len(matched) > 1:
        seeds = np.array([[one.values.mean(), other.values.mean()] for one, other in matched]).T
        found.append(Pairs(a, b, "seeds", (seeds[0], seeds[1])))
    return found


def unpaired(a: Learner, b: Learner) -> list[Path]:
    """The folders of runs whose seed the other learner lacks, where they share others."""
    matched = _matched(a, b)
    runs = [m for learner in (a, b) for m in learner.members if _seeds(m) not in matched]
    return [run.evaluated.run.path for run in runs if matched]


def _matched(a: Learner, b: Learner) -> dict[tuple[int, int], tuple[Member, Member]]:
    """Runs of one training seed, tested on the same episodes."""
    others = {_seeds(member): member for member in b.members}
    return {_seeds(m): (m, others[_seeds(m)]) for m in a.members if _seeds(m) in others}


def _means(a: Learner, b: Learner) -> tuple[Member, Member]:
    """Each learner's mean over its runs, all tested on the same episodes."""
    seeds = [_episode_seeds(learner) for learner in (a, b)]
    if seeds[0] != seeds[1] or len(seeds[0]) > 1:
        raise UserError(
            f"{a.name} and {b.name} share no test episodes, which depend on the seed: theirs are "
            f"{' and '.join(', '.join(map(str, s)) for s in seeds)}. Add --evaluate, which tests "
            "all runs on the episodes of the first, or train with the same seeds."
        )
    first, other = (
        Member(learner.members[0].evaluated, np.mean([m.values for m in learner.members], axis=0))
        for learner in (a, b)
    )
    return first, other


def _seeds(member: Member) -> tuple[int, int]:
    return member.evaluated.seed, member.evaluated.episode_seed


def _episode_seeds(learner: Learner) -> Sequence[int]:
    return sorted({member.evaluated.episode_seed for member in learner.members})
