"""Answers are counted by true class, and by pairs of classes that met in an episode."""

import torch

from metaloop.training.confusion import count_confusion, rows_of
from metaloop.training.episode_values import NONE, Answered


def answered(classes, targets, answers) -> Answered:
    parts = (torch.tensor(part) for part in (classes, targets, answers))
    return Answered(*parts, torch.ones(len(targets), len(targets[0])))


def test_right_and_wrong_answers_are_counted_by_global_class():
    # 5 is taken for 7 in the one episode that has both, and 9 for 5 in one of two
    found = count_confusion(
        answered([[5, 7, 9], [9, 5, 6]], [[0, 1, 2], [0, 1, 2]], [[1, 1, 2], [1, 1, 2]])
    )
    assert found.classes.tolist() == [5, 6, 7, 9]
    assert found.seen.tolist() == [2, 1, 1, 2]
    assert found.right.tolist() == [1, 1, 1, 1]
    assert rows_of(found) == [(5, 7, 1, 1), (9, 5, 1, 2)]


def test_what_pads_a_smaller_episode_is_neither_asked_nor_a_choice():
    found = count_confusion(
        answered([[5, 7, 9], [9, 5, NONE]], [[0, 1, 2], [0, 1, NONE]], [[0, 1, 2], [1, 1, NONE]])
    )
    assert (found.seen.tolist(), found.right.tolist()) == ([2, 1, 2], [2, 1, 1])
    assert rows_of(found) == [(9, 5, 1, 2)]


def test_the_most_frequent_mistake_comes_first_and_of_equals_the_one_that_met_less():
    found = count_confusion(
        answered([[1, 2], [1, 2], [1, 3], [1, 3], [1, 4]], [[0, 1]] * 5, [[1, 1]] * 4 + [[0, 0]])
    )
    # 1 is taken for 2 and for 3 twice of two, 4 for 1 once of one
    assert rows_of(found) == [(1, 2, 2, 2), (1, 3, 2, 2), (4, 1, 1, 1)]
