"""What two learners have in common is paired: episodes and seeds."""

import numpy as np
import pytest

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.comparison.evaluated_run import EvaluatedRun
from metaloop.run.comparison.learners import Learner, Member
from metaloop.run.comparison.pairs import find_unpaired, pair_up


def learner(name: str, *runs: tuple[int, int, list[float]]) -> Learner:
    """A learner of runs: the seed of each, that of its test episodes, and their values."""
    members = [
        Member(
            EvaluatedRun(
                RunFolder(f"{name}{seed}"), RunFolder("test"), {"seed": seed}, {"seed": of}
            ),
            np.array(values),
        )
        for seed, of, values in runs
    ]
    return Learner(name, members)


def values(a: Learner, b: Learner) -> dict[str, list[list[float]]]:
    return {found.over: [v.tolist() for v in found.values] for found in pair_up(a, b)}


def test_runs_of_one_seed_are_paired_episode_by_episode_and_seed_by_seed():
    a = learner("a", (0, 0, [1.0, 2.0]), (1, 1, [3.0, 4.0]))
    b = learner("b", (1, 1, [1.0, 1.0]), (2, 2, [9.0, 9.0]), (0, 0, [0.0, 0.5]))
    assert values(a, b) == {
        "episodes": [[1.0, 2.0, 3.0, 4.0], [0.0, 0.5, 1.0, 1.0]],
        "seeds": [[1.5, 3.5], [0.25, 1.0]],
    }
    assert [path.name for path in find_unpaired(a, b)] == ["b2"]


def test_an_episode_counts_once_though_several_runs_were_tested_on_it():
    a = learner("a", (0, 7, [1.0, 2.0]), (1, 7, [3.0, 6.0]))
    b = learner("b", (0, 7, [0.0, 0.0]), (1, 7, [1.0, 1.0]))
    assert values(a, b) == {
        "episodes": [[2.0, 4.0], [0.5, 0.5]],
        "seeds": [[1.5, 4.5], [0.0, 1.0]],
    }


def test_of_one_seed_in_common_nothing_is_said_over_seeds():
    a, b = learner("a", (0, 0, [1.0, 2.0])), learner("b", (0, 0, [1.0, 3.0]))
    assert values(a, b) == {"episodes": [[1.0, 2.0], [1.0, 3.0]]}
    assert find_unpaired(a, b) == []


def test_learners_of_other_seeds_are_paired_by_their_common_episodes_alone():
    a = learner("a", (0, 0, [1.0, 2.0]), (1, 0, [3.0, 4.0]))
    b = learner("b", (5, 0, [0.0, 1.0]))
    assert values(a, b) == {"episodes": [[2.0, 3.0], [0.0, 1.0]]}


def test_learners_without_common_episodes_are_refused():
    with pytest.raises(UserError, match=r"a and b share no test episodes.*theirs are 0, 2 and 1"):
        pair_up(learner("a", (0, 0, [1.0]), (2, 2, [1.0])), learner("b", (1, 1, [1.0])))
