"""Meta-batches are the same for any number of workers, ranks and any batch size."""

import copy
from itertools import islice

import pytest
import torch
from torch.utils._pytree import tree_leaves

from metaloop.errors import UserError
from metaloop.tasks import Omniglot, RandomStreams, Sinusoid
from metaloop.tasks.shapes import Shapes
from metaloop.training.datamodule import EpisodicDataModule, EvaluationEpisodes, MetaTrainingStream


def module(task=None, **changes) -> EpisodicDataModule:
    values = {
        "seed": 3,
        "meta_batch_size": 6,
        "eval_meta_batch_size": 4,
        "validation_episodes": 10,
        "workers": 0,
    }
    return EpisodicDataModule(task or Sinusoid(shots=3, queries=2), **{**values, **changes})


@pytest.fixture(scope="module")
def drawings(omniglot, cache) -> Omniglot:
    task = Omniglot(
        ways=5,
        shots=1,
        queries=2,
        rotations=True,
        split="finn2017",
        split_seed=1,
        image_size=28,
        storage="auto",
        data_dir=str(omniglot),
        cache_dir=str(cache),
        source_url="",
    )
    task.setup()
    return task


def same(one, other) -> bool:
    pairs = list(zip(tree_leaves(one), tree_leaves(other), strict=True))
    return bool(pairs) and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("kind", ["sinusoid", "omniglot"])
def test_workers_change_no_episode(workers, kind, request):
    task = request.getfixturevalue("drawings") if kind == "omniglot" else None
    alone, helped = module(task), module(task, workers=workers)
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        few = zip(
            islice(iter(getattr(alone, loader)()), 9),
            islice(iter(getattr(helped, loader)()), 9),
            strict=True,
        )
        assert all(same(a, b) for a, b in few)


def test_a_meta_step_trains_on_the_next_episodes_of_the_stream():
    task = Sinusoid(shots=3, queries=2)
    large = next(iter(MetaTrainingStream(task, 3, 12)))
    small = list(islice(iter(MetaTrainingStream(task, 3, 6)), 2))
    assert torch.equal(large.indices, torch.arange(12))
    joined = torch.cat([batch.episodes.query.targets for batch in small])
    assert torch.equal(large.episodes.query.targets, joined)


def test_a_stream_started_at_step_s_goes_on_as_if_never_stopped():
    task = Sinusoid(shots=3, queries=2)
    whole = list(islice(iter(MetaTrainingStream(task, 3, 6)), 8))
    resumed = list(islice(iter(MetaTrainingStream(task, 3, 6, first_step=5)), 3))
    assert all(same(a, b) for a, b in zip(whole[5:], resumed, strict=True))


def test_ranks_take_their_slices_of_the_same_meta_batch():
    task = Sinusoid(shots=3, queries=2)
    whole = next(iter(MetaTrainingStream(task, 3, 6)))
    slices = [next(iter(MetaTrainingStream(task, 3, 6, rank=r, world=3))) for r in range(3)]
    assert torch.equal(torch.cat([s.indices for s in slices]), whole.indices)
    targets = torch.cat([s.episodes.query.targets for s in slices])
    assert torch.equal(targets, whole.episodes.query.targets)


def test_a_meta_batch_that_does_not_divide_is_refused_with_the_remedy():
    data = module(meta_batch_size=7)
    data._place = lambda: (0, 2)
    with pytest.raises(
        UserError, match=r"7 tasks .* 2 processes. Set data.meta_batch_size to a multiple of 2"
    ):
        data.train_dataloader()


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_evaluation_sees_each_episode_once_whatever_the_batch_and_the_ranks(batch, world):
    task = Sinusoid(shots=3, queries=2)
    parts = [EvaluationEpisodes(task, 3, "test", 10, batch, r, world) for r in range(world)]
    batches = [b for part in parts for b in part]
    indices = torch.cat([b.indices for b in batches])
    assert sorted(indices.tolist()) == list(range(10))
    targets = torch.cat([b.episodes.query.targets for b in batches])[indices.argsort()]
    (all_at_once,) = EvaluationEpisodes(task, 3, "test", 10, 10)
    assert torch.equal(targets, all_at_once.episodes.query.targets)


def by_index(batches) -> dict[int, list[torch.Tensor]]:
    """Every episode's tensors by its number, whatever the groups of shapes."""
    return {
        int(index): [leaf[i] for leaf in tree_leaves(group)]
        for batch in batches
        for indices, group in batch.groups
        for i, index in enumerate(indices)
    }


@pytest.fixture(scope="module")
def uneven(drawings) -> Omniglot:
    """The drawings in episodes of 2 to 4 ways, each class with 1 to 3 shots."""
    task = copy.copy(drawings)
    task.shapes = Shapes(ways=[2, 4], shots=[1, 3], block=4, uneven=True)
    return task


def test_where_shapes_vary_a_meta_batch_is_cut_into_groups_of_one_shape(uneven):
    (batch,) = islice(iter(MetaTrainingStream(uneven, 3, 10)), 1)
    assert sorted(batch.indices.tolist()) == list(range(10))
    blocks = [{int(i) // 4 for i in indices} for indices, _ in batch.groups]
    assert sorted(block for several in blocks for block in several) == [0, 1, 2]
    shapes = [uneven.shapes.draw(RandomStreams(3, "train", i)) for i, _ in batch.groups]
    assert all(bool((rows == rows[0]).all()) for rows in shapes)


@pytest.mark.parametrize("meta_batch_size", [1, 3, 12])
def test_no_batch_rank_worker_or_resumption_changes_an_episode_of_varying_shape(
    uneven, meta_batch_size
):
    whole = by_index(islice(iter(MetaTrainingStream(uneven, 3, 24)), 1))
    assert sorted(whole) == list(range(24))
    small = islice(iter(MetaTrainingStream(uneven, 3, meta_batch_size)), 24 // meta_batch_size)
    assert_same(by_index(small), whole)
    resumed = islice(iter(MetaTrainingStream(uneven, 3, 6, first_step=2)), 2)
    assert_same(by_index(resumed), {i: whole[i] for i in range(12, 24)})
    ranks = [next(iter(MetaTrainingStream(uneven, 3, 24, rank=r, world=4))) for r in range(4)]
    assert_same(by_index(ranks), whole)
    judged = by_index(EvaluationEpisodes(uneven, 3, "test", 11, 11))
    parts = [EvaluationEpisodes(uneven, 3, "test", 11, meta_batch_size, r, 2) for r in range(2)]
    assert_same(by_index(batch for part in parts for batch in part), judged)


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for index, leaves in expected.items():
        assert all(torch.equal(a, b) for a, b in zip(found[index], leaves, strict=True))


def test_workers_draw_the_same_groups(uneven):
    alone, helped = module(uneven), module(uneven, workers=2)
    loaders = (data.train_dataloader() for data in (alone, helped))
    few = zip(*(islice(iter(loader), 5) for loader in loaders), strict=True)
    assert all(same(a, b) for a, b in few)
