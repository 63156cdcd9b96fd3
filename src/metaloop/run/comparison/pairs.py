"""Pair two learners' values: of the same test episode, and of runs with the same seed."""

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
    """Pair two learners' values over episodes, and over seeds if they share at least two.

    An episode counts once, by its mean over the runs tested on it; a seed by its mean over
    episodes. Learners without a common training seed are paired only over episodes.

    Raises:
        UserError: if they were not tested on the same episodes.

    """
    matched = list(_match_runs(a, b).values())
    runs = matched or [_average_runs(a, b)]
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


def find_unpaired(a: Learner, b: Learner) -> list[Path]:
    """Return the folders of runs whose seed the other learner lacks, if they share others."""
    matched = _match_runs(a, b)
    runs = [m for learner in (a, b) for m in learner.members if _seeds(m) not in matched]
    return [run.evaluated.run.path for run in runs if matched]


def _match_runs(a: Learner, b: Learner) -> dict[tuple[int, int], tuple[Member, Member]]:
    """Match the runs of both with the same training seed and test episodes."""
    others = {_seeds(member): member for member in b.members}
    return {_seeds(m): (m, others[_seeds(m)]) for m in a.members if _seeds(m) in others}


def _average_runs(a: Learner, b: Learner) -> tuple[Member, Member]:
    """Average each learner over its runs, all tested on the same episodes."""
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
