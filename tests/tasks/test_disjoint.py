"""Open episodes: no example is in two of them, until the split is used up."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metaloop.errors import UserError
from metaloop.tasks import (
    ImageClasses,
    LabelledDataset,
    Mixture,
    RowClasses,
    Sinusoid,
    Task,
    store_arrays,
)
from metaloop.tasks.disjoint import deal_examples
from metaloop.training.datamodule import (
    EpisodicDataModule,
    EvaluationEpisodes,
    deal_disjoint,
    gather,
)
from metaloop.training.episode_columns import episode_columns
from tests.tasks.tables.test_arrays import make, write_csv

SIZES = torch.tensor(
    [14, 18, 24, 12, 16, 20]
)  # examples of each class (or data set) of the test split
GROUPS = torch.arange(6).repeat_interleave(SIZES)
SPLIT = {"train": [], "validation": [], "test": range(6)}


def images(folder, **changes) -> ImageClasses:
    task = ImageClasses(**{"ways": 2, "shots": 1, "queries": 2, **changes})
    task.splits = ("test",)
    pixels = [np.zeros((n, 1, 2, 2), np.uint8) for n in SIZES.tolist()]
    task.open_images(store_arrays(pixels), SPLIT)
    return task


def rows(folder, **changes) -> RowClasses:
    """Row r says so: its input is r."""
    task = RowClasses(**{"ways": 2, "shots": 1, "queries": 2, **changes})
    task.splits, task.classes, task.input_shape = ("test",), 6, (1,)
    inputs = torch.arange(len(GROUPS), dtype=torch.float64)[:, None]
    task.open_rows(inputs, GROUPS, list("abcdef"), SPLIT, "rows")
    return task


def items(folder) -> LabelledDataset:
    given = [(float(i), label) for i, label in enumerate(GROUPS.tolist())]
    task = LabelledDataset(dataset=given, ways=2, shots=1, queries=2, fractions=[0, 0, 1])
    task.splits = ("test",)
    return task


def data_sets(folder):
    table = ((i, g, g) for i, g in enumerate(GROUPS.tolist()))
    write_csv(folder / "own.csv", "x,y,task", table)
    of_numbers = {"kind": "regression", "target": "y", "split_fractions": [0, 0, 1]}
    task = make(folder, "own.csv", **of_numbers, shots=[1, 2])
    task.splits = ("test",)
    return task


def mixture(folder) -> Mixture:
    return Mixture(of={"few": rows(folder), "many": rows(folder, ways=3)}, shape_block=2)


FAMILIES = {
    "images": images,
    "turned images": lambda folder: images(folder, rotations=True),
    "rows": rows,
    "any size": lambda folder: rows(folder, ways=[2, 4], shots=[1, 3], uneven_shots=True),
    "items": items,
    "data sets": data_sets,
    "mixture": mixture,
}


def opened(task: Task, episodes=600, interval="open", **changes) -> EpisodicDataModule:
    values = {"seed": 5, "meta_batch_size": 1, "eval_meta_batch_size": 100, **changes}
    data = EpisodicDataModule(
        task, **values, test_episodes=episodes, test_interval=interval, validation_episodes=4
    )
    data.setup("test")
    return data


@pytest.mark.parametrize("family", FAMILIES)
def test_no_example_is_in_two_episodes_and_the_table_names_them(family, tmp_path):
    told = episode_columns(opened(FAMILIES[family](tmp_path)).tested())
    source = told.get("source", [""] * len(told["query"]))
    used = [
        (of, number)
        for of, *sets in zip(source, told["support"], told["query"], strict=True)
        for numbers in sets
        for number in numbers.split()
    ]
    assert len(told["query"]) > 3
    assert len(used) == len(set(used))


def test_the_numbers_in_the_table_are_those_of_the_examples(tmp_path):
    episodes = opened(rows(tmp_path)).tested()
    told = episode_columns(episodes)
    (batch,) = [gather(episodes.task, drawn, torch.float64) for drawn in (episodes[0],)]
    for name, part in (("support", batch.episodes.support), ("query", batch.episodes.query)):
        numbers = [list(map(int, row.split())) for row in told[name]]
        assert part.inputs[..., 0].tolist() == numbers  # a row's input is its number
    of_support = [[int(GROUPS[int(n)]) for n in row.split()] for row in told["support"]]
    assert of_support == [list(map(int, row.split())) for row in told["classes"]]


def test_the_split_is_used_up():
    deal = deal_each(ways=2, count=3)
    left = SIZES - 3 * deal.groups.flatten().bincount(minlength=6)
    assert (left >= 0).all()
    assert int((left >= 3).sum()) < 2


def test_classes_are_chosen_at_random_and_every_example_has_its_turn():
    first = torch.cat([deal_each(seed=seed).groups[0] for seed in range(120)]).bincount()
    assert first.tolist() == pytest.approx([40] * 6, abs=5 * 40**0.5)
    seen = set()
    for seed in range(30):
        groups, members = deal_each(seed, ways=6, count=6)
        seen |= {*members[0, groups[0] == 5].flatten().tolist()}
    assert seen == set(range(20))


def deal_each(seed=0, ways=2, count=3):
    each = torch.ones(600, dtype=torch.int64)
    return deal_examples(SIZES, ways * each, count * each, seed, "test", torch.arange(600))


@pytest.mark.parametrize("family", ["turned images", "any size", "mixture"])
def test_batches_ranks_and_the_number_asked_for_change_no_episode(family, tmp_path):
    whole = by_number([opened(FAMILIES[family](tmp_path)).tested()])
    few = opened(FAMILIES[family](tmp_path), episodes=3, eval_meta_batch_size=2)
    ranks = opened(FAMILIES[family](tmp_path), eval_meta_batch_size=2)
    shared = by_number([ranks.tested(rank, 3) for rank in range(3)])
    assert list(shared) == list(whole) == list(range(len(whole)))
    for part in (shared, by_number([few.tested()])):
        for number, leaves in part.items():
            assert all(torch.equal(a, b) for a, b in zip(leaves, whole[number], strict=True))


def by_number(shares: list[EvaluationEpisodes]) -> dict[int, list[Tensor]]:
    batches = [share[i] for share in shares for i in range(len(share))]
    found = {
        int(number): [leaf[i] for leaf in tree_leaves(drawn)]
        for batch in batches
        for numbers, drawn in batch.groups
        for i, number in enumerate(numbers)
    }
    return dict(sorted(found.items()))


def test_validation_and_training_are_drawn_as_ever():
    task = Sinusoid(shots=2, queries=2)
    for loader in ("train_dataloader", "val_dataloader"):
        one, other = (
            next(iter(getattr(opened(task, interval=interval), loader)()))
            for interval in ("open", "closed")
        )
        assert torch.equal(one.episodes.query.inputs, other.episodes.query.inputs)


def test_open_is_closed_where_every_episode_is_of_fresh_data():
    task = Sinusoid(shots=2, queries=2)
    one, other = (by_number([opened(task, 7, kind).tested()]) for kind in ("open", "closed"))
    assert len(one) == 7
    assert all(map(torch.equal, tree_leaves(one), tree_leaves(other)))


def test_a_split_too_small_for_two_episodes_or_for_one_a_process_says_so(tmp_path):
    with pytest.raises(
        UserError, match=r"least 2 episodes .* split of RowClasses has enough for 1"
    ):
        opened(rows(tmp_path, ways=4, queries=11))
    three = rows(tmp_path, queries=11)
    assert len(deal_disjoint(three, 0, "test", 600, processes=3).groups) == 3
    with pytest.raises(UserError, match=r"least 4 .* enough for 3.* fewer processes"):
        deal_disjoint(three, 0, "test", 600, processes=4)


def test_a_family_that_does_not_say_what_it_draws_from_is_refused_with_the_way_out():
    class Own(Sinusoid):
        is_fresh = False

    with pytest.raises(UserError, match=r"Own does not say .*interval=closed.*is_fresh = True"):
        opened(Own(shots=2, queries=2))
