"""Ways and shots that vary: a pure function of seed, split and block, both ends included."""

import pytest
import torch

from metaloop.errors import UserError
from metaloop.tasks import RandomStreams, Sinusoid
from metaloop.tasks.shapes import Shapes
from tests.tasks.images.test_image_classes import make


def drawn(shapes, indices, split="train", seed=3):
    return shapes.draw(RandomStreams(seed, split, torch.as_tensor(indices)))


def test_every_size_of_both_ranges_appears_as_often_and_no_other():
    rows = drawn(Shapes(ways=[2, 4], shots=[1, 3]), range(3600))
    ways = (rows > 0).sum(1)
    shots = rows.max(1).values
    pairs, counts = torch.unique(torch.stack([ways, shots], 1), dim=0, return_counts=True)
    assert pairs.tolist() == [[n, k] for n in (2, 3, 4) for k in (1, 2, 3)]
    assert (counts - 400).abs().max() < 5 * 400**0.5
    assert all(set(row[row > 0].tolist()) == {int(row.max())} for row in rows)


def test_a_block_of_consecutive_episodes_has_one_shape():
    shapes = Shapes(ways=[2, 9], shots=[1, 9], block=5)
    rows = drawn(shapes, range(100))
    assert torch.equal(rows[::5].repeat_interleave(5, 0), rows)
    assert len(rows[::5].unique(dim=0)) > 10
    assert torch.equal(drawn(shapes, [73, 4, 17]), rows[[73, 4, 17]])
    assert not torch.equal(drawn(shapes, range(100), split="test"), rows)
    assert not torch.equal(drawn(shapes, range(100), seed=4), rows)


def test_uneven_shots_are_drawn_for_each_class():
    rows = drawn(Shapes(ways=[2, 4], shots=[1, 3], uneven=True), range(500))
    there = rows > 0
    assert set(there.sum(1).tolist()) == {2, 3, 4}
    assert torch.equal(there, there.sort(descending=True, dim=1).values)  # classes 0..N-1
    assert all({1, 2, 3} == set(rows[:, n][there[:, n]].tolist()) for n in range(4))


def one_of(task, **which):
    """The first index of the train stream whose episode has this shape, and the episode."""
    rows = drawn(task.shapes, range(500), seed=0)
    ways, shots = (rows > 0).sum(1), rows.max(1).values
    index = int(((ways == which["ways"]) & (shots == which["shots"])).nonzero()[0])
    streams = RandomStreams(0, "train", torch.tensor([index]))
    return index, task.gather(task.draw("train", streams), torch.float64)


def test_an_episode_of_a_range_is_the_one_that_fixed_sizes_give():
    index, found = one_of(make(ways=[2, 4], shots=[1, 3]), ways=3, shots=2)
    fixed = make(ways=3, shots=2)
    streams = RandomStreams(0, "train", torch.tensor([index]))
    expected = fixed.gather(fixed.draw("train", streams), torch.float64)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            torch.utils._pytree.tree_leaves(found),
            torch.utils._pytree.tree_leaves(expected),
            strict=True,
        )
    )


def test_an_uneven_episode_has_different_shots_and_equal_queries_per_class():
    task = make(ways=[2, 4], shots=[1, 3])
    task.shapes = Shapes(ways=[2, 4], shots=[1, 3], block=4, uneven=True)
    (shots,) = drawn(task.shapes, [8], seed=0)
    streams = RandomStreams(0, "train", torch.arange(8, 12))
    episode = task.gather(task.draw("train", streams), torch.float64)
    counts = shots[shots > 0].tolist()
    assert len(set(counts)) > 1
    expected = [label for label, count in enumerate(counts) for _ in range(count)]
    assert episode.support.targets.tolist() == [expected] * 4
    assert episode.support.inputs.shape[:2] == (4, sum(counts))
    assert episode.query.targets.tolist() == [[n for n in range(len(counts)) for _ in range(2)]] * 4
    for t in range(4):  # a pixel names the class, another the image
        both = torch.cat([episode.support.inputs[t], episode.query.inputs[t]]) * 255
        labels = torch.cat([episode.support.targets[t], episode.query.targets[t]])
        pixels = {tuple(image.flatten().sort().values.round().tolist()) for image in both}
        assert len(pixels) == len(labels)
        classes = episode.classes[t][labels] // 4
        assert all(c in image.flatten().round() for c, image in zip(classes, both, strict=True))


def test_the_smallest_and_the_largest_shape_are_families_of_one_shape():
    task = make(ways=[2, 4], shots=[1, 3])
    smallest, largest = task.extremes()
    streams = [RandomStreams(0, "train", torch.arange(3)) for _ in range(2)]
    shapes = [
        family.gather(family.draw("train", s), torch.float64).support.inputs.shape[:2]
        for family, s in zip((smallest, largest), streams, strict=True)
    ]
    assert shapes == [(3, 2), (3, 12)]
    assert make().extremes()[0].shapes.of(streams[0]) == [1] * 5


def test_a_table_tells_the_episodes_apart_and_a_protocol_names_the_ranges():
    streams = RandomStreams(3, "test", torch.arange(6))
    shapes = Shapes(ways=[2, 4], shots=[1, 3], block=2)
    rows = shapes.draw(streams)
    assert shapes.columns(streams) == {
        "ways": (rows > 0).sum(1).tolist(),
        "shots": rows.max(1).values.tolist(),
    }
    uneven = Shapes(ways=2, shots=[1, 3], uneven=True)
    each = [f"{a} {b}" for a, b in uneven.draw(streams).tolist()]
    assert uneven.columns(streams)["shots"] == each
    assert Shapes(ways=5, shots=1).columns(streams) == {}
    assert shapes.describe() == {
        "ways": "2..4",
        "shots": "1..3",
        "shape_block": 2,
        "uneven_shots": False,
    }
    assert Sinusoid(shots=[5, 10], queries=3).describe()["shots"] == "5..10"
    assert Sinusoid(shots=5, queries=3).describe() == {"shots": 5, "queries": 3}


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"shots": [5, 1]}, r"task.shots=\[5,1\] is the range from the fewest .*=\[1,5\]"),
        ({"shots": 1, "block": 5}, r"task.shape_block=5 has no effect.*a range"),
        ({"shots": 2, "uneven": True}, r"task.uneven_shots=true .*task.shots=2 is not a range"),
    ],
)
def test_ranges_that_hold_nothing_and_keys_without_effect_are_refused(sizes, says):
    with pytest.raises(UserError, match=says):
        Shapes(**sizes)
