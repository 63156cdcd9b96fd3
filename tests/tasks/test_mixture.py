"""Episodes of several sources: which one is a pure function, each is the source's own."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from metaloop.errors import UserError
from metaloop.tasks import Harmonic, Mixture, PointNavigation, RandomStreams, Sinusoid
from metaloop.training.datamodule import draw, gather
from tests.tasks.images.test_image_classes import make


def images(**sizes):
    task = make(**sizes)
    task.input_shape, task.classes = (1, 2, 2), task.count_classes(30)
    return task


def mixture(**changes) -> Mixture:
    sources = {"few": images(ways=3), "many": images(ways=[4, 5], shots=[1, 2], rotations=False)}
    return Mixture(**{"of": sources, **changes})


def source_of(task, indices, seed=0, split="train"):
    return task.shapes.sources(RandomStreams(seed, split, torch.as_tensor(indices)))


def test_sources_are_drawn_as_often_as_their_weights_say_in_blocks():
    task = mixture(weights={"few": 3, "many": 1}, shape_block=2)
    source = source_of(task, range(8000))
    assert torch.equal(source[::2].repeat_interleave(2), source)
    assert int(source[::2].sum()) == pytest.approx(1000, abs=5 * 750**0.5)
    assert torch.equal(source_of(task, [701, 4]), source[[701, 4]])
    assert not torch.equal(source_of(task, range(8000), split="test"), source)
    never = mixture(weights={"few": 0, "many": 1})
    assert source_of(never, range(200)).unique().tolist() == [1]


def test_which_source_and_which_shape_do_not_depend_on_each_other():
    task = mixture()
    rows = task.shapes.draw(RandomStreams(0, "train", torch.arange(4000)))
    many = rows[rows[:, 0] == 1, 1:]
    ways = (many > 0).sum(1)
    assert float((ways == 5).double().mean()) == pytest.approx(0.5, abs=0.06)


def test_the_truth_of_an_episode_is_its_sources():
    sizes = {"shots": 2, "queries": 3}
    waves = Harmonic(**sizes, noise_std=0.0)
    task = Mixture(of={"sine": Sinusoid(**sizes), "waves": waves})
    batch = draw(task, 0, "train", torch.arange(20))
    for indices, drawn in batch.groups:
        truth = task.truth("train", RandomStreams(0, "train", indices[:1]))
        query = drawn.drawn.query
        expected = query.targets[:1].double()
        torch.testing.assert_close(truth(query.inputs[:1].double()), expected, rtol=0, atol=1e-5)


def test_class_ids_of_a_source_follow_those_of_earlier_sources():
    task = mixture()
    (few, many), offsets = task.sources.values(), (0, 120)
    batch = gather(task, draw(task, 0, "train", torch.arange(40)), torch.float64)
    assert sorted(batch.indices.tolist()) == list(range(40))
    for indices, episodes in batch.groups:
        (number,) = source_of(task, indices).unique().tolist()
        source = (few, many)[number]
        streams = RandomStreams(0, "train", indices)
        own = source.gather(source.draw("train", streams), torch.float64)
        own = own._replace(classes=own.classes + offsets[number])
        pairs = zip(tree_leaves(episodes), tree_leaves(own), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert (task.classes, task.output_size) == (150, 5)
    assert task.class_name(119) == "few: 29 r270"
    assert task.class_title(119) == "few: 29, rotated 270\N{DEGREE SIGN}"
    assert task.class_name(121) == "many: 1"


def test_episodes_are_told_apart_by_source_and_where_they_vary_by_shape():
    task = mixture()
    streams = RandomStreams(0, "test", torch.arange(30))
    columns = task.shapes.columns(streams)
    number = task.shapes.sources(streams).tolist()
    assert columns["source"] == [["few", "many"][n] for n in number]
    rows = task.sources["many"].shapes.draw(streams)
    ways = (rows > 0).sum(1).tolist()
    assert columns["ways"] == [w if n else "" for n, w in zip(number, ways, strict=True)]
    described = task.describe()
    assert described["sources"] == "few 50%, many 50%"
    assert (described["few.ways"], described["many.ways"]) == (3, "4..5")


def uncounted():
    task = images()
    task.classes = 0
    return task


def test_an_evaluation_asks_every_source_for_its_split_alone():
    task = mixture()
    task.splits = ("test",)
    assert task.splits == task.sources["few"].splits == task.sources["many"].splits == ("test",)


class Wide(Sinusoid):
    input_shape = (2,)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"of": {}}, r"task\.of has no sources"),
        (
            {"weights": {"few": 1}},
            r"task\.weights=.* must give a number to each source .*few, many",
        ),
        ({"weights": {"few": 0, "many": 0}}, "at least one above 0"),
        (
            {"of": {"a": Sinusoid(shots=1, queries=1), "b": Wide(shots=1, queries=1)}},
            r"task\.of\.a and task\.of\.b .* input shapes differ \(\(1,\) and \(2,\)\)",
        ),
        (
            {
                "of": {
                    "a": Wide(shots=2, queries=2),
                    "b": PointNavigation(shots=2, queries=2, horizon=2, action_std=0.1),
                }
            },
            r"kinds of targets differ",
        ),
        (
            {"of": {"a": images(), "b": uncounted()}},
            r"task\.of\.b does not give its number of classes",
        ),
    ],
)
def test_sources_that_do_not_fit_one_learner_are_refused_by_name(changes, says):
    with pytest.raises(UserError, match=says):
        mixture(**changes)


def test_the_smallest_and_largest_episodes_of_every_source_are_to_be_checked():
    streams = RandomStreams(0, "train", torch.arange(2))
    sizes = [family.shapes.of(streams) for family in mixture().extremes()]
    assert sizes == [[1] * 3, [1] * 4, [2] * 5]


def test_a_regressions_sources_have_their_own_curves():
    task = Mixture(
        of={
            "sine": Sinusoid(shots=[1, 3], queries=2),
            "sum": Harmonic(shots=4, queries=2, noise_std=0.0),
        }
    )
    batch = gather(task, draw(task, 0, "train", torch.arange(60)), torch.float64)
    assert {g.support.inputs.shape[1] for _, g in batch.groups} == {1, 2, 3, 4}
    assert (task.classes, task.output_size, task.shapes.ways_vary) == (0, 1, False)
