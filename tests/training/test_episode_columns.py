"""episodes.csv says of each episode what it was drawn from."""

import torch

from metaloop.tasks import RowClasses, Sinusoid
from metaloop.training.datamodule import EvaluationEpisodes
from metaloop.training.episode_columns import episode_columns


class Points(RowClasses):
    """Six classes of four points; row r is of class r // 4."""

    input_shape = (1,)

    def setup(self):
        names, every = [f"class {c}" for c in range(6)], range(6)
        splits = {"train": every, "validation": every, "test": every}
        self.open_rows(torch.rand(24, 1), torch.arange(24) // 4, names, splits, "points")


def test_fresh_episodes_of_one_shape_need_no_columns():
    assert episode_columns(EvaluationEpisodes(Sinusoid(shots=2, queries=2), 0, "test", 5, 2)) == {}


def test_shapes_are_told_where_they_vary():
    told = episode_columns(EvaluationEpisodes(Sinusoid(shots=[1, 3], queries=2), 0, "test", 9, 4))
    assert list(told) == ["shots"]
    assert len(told["shots"]) == 9
    assert set(told["shots"]) <= {1, 2, 3}


def test_classes_and_examples_are_told_in_the_order_of_the_labels():
    task = Points(ways=2, shots=1, queries=2)
    task.setup()
    told = episode_columns(EvaluationEpisodes(task, 0, "test", 5, 2))
    assert list(told) == ["classes", "support", "query"]
    for classes, support, query in zip(*told.values(), strict=True):
        one, other = map(int, classes.split())
        assert [int(row) // 4 for row in support.split()] == [one, other]
        assert [int(row) // 4 for row in query.split()] == [one, one, other, other]
