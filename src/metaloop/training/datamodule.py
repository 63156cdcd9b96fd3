"""Meta-batches for Lightning, of episodes that are pure functions of (seed, split, index)."""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from metaloop.arguments import Count, CountOrZero, Seed
from metaloop.episode import Episode, Episodes, of_one_shape
from metaloop.errors import UserError
from metaloop.process.signals import leave_signals_to_parent
from metaloop.tasks import RandomStreams, Split, Task
from metaloop.tasks.disjoint import Deal, DisjointStreams
from metaloop.tasks.task import Function
from metaloop.training.estimate import EpisodeInterval

BLOCK = 512  # episodes drawn together, which spreads the overhead of a draw


class MetaBatch(NamedTuple):
    """Episodes with their indices: indices [T] int64, episodes [T, ...].

    If shapes differ, episodes are a list with a group per shape, in the order of the indices.

    Examples:
        >>> from metaloop import EpisodicDataModule, Sinusoid
        >>> data = EpisodicDataModule(Sinusoid(shots=5, queries=10), seed=0, meta_batch_size=4)
        >>> batch = next(iter(data.train_dataloader()))
        >>> [(indices, episodes.support.inputs.shape) for indices, episodes in batch.groups]
        [(tensor([0, 1, 2, 3]), torch.Size([4, 5, 1]))]

    """

    indices: Tensor
    episodes: Episodes

    @property
    def groups(self) -> Iterator[tuple[Tensor, Episode]]:
        """Indices and episodes of each shape; also works for episodes not yet gathered."""
        groups = of_one_shape(self.episodes)
        counts = [len(tree_leaves(group)[0]) for group in groups]
        return zip(torch.split(self.indices, counts), groups, strict=True)


class EpisodicDataModule(pl.LightningDataModule):
    """Yields meta-batches, drawn by a task family and gathered on the device.

    Meta-step s trains on the episodes s*T .. s*T+T-1 of the train stream; a rank takes its
    slice. Validation and test use the first episodes of their own streams, always the same.

    Args:
        task: source of the episodes.
        seed: seed of all three streams.
        meta_batch_size: T, tasks in a meta-step, over all processes.
        eval_meta_batch_size: tasks evaluated at once; does not change results.
        validation_episodes: episodes per validation.
        workers: processes that draw ahead; with 0 the training process draws.
        test_split, test_episodes: the episodes that `trainer.test` evaluates.
        test_interval: closed for the split's first episodes; open for episodes that share no
            example, at most `test_episodes`, fewer if the split is used up.

    Examples:
        >>> from metaloop import EpisodicDataModule, Sinusoid
        >>> data = EpisodicDataModule(Sinusoid(shots=5, queries=10), seed=0, meta_batch_size=4)
        >>> first, second, *_ = zip(data.train_dataloader(), range(2))
        >>> first[0].indices, second[0].indices
        (tensor([0, 1, 2, 3]), tensor([4, 5, 6, 7]))

    """

    def __init__(
        self,
        task: Task,
        *,
        seed: Seed,
        meta_batch_size: Count,
        eval_meta_batch_size: Count = 100,
        validation_episodes: Count = 200,
        workers: CountOrZero = 0,
        test_split: Split = "test",
        test_episodes: Count = 600,
        test_interval: EpisodeInterval = "closed",
    ) -> None:
        super().__init__()
        self.task = task
        self.seed = seed
        self.meta_batch_size = meta_batch_size
        self.eval_meta_batch_size = eval_meta_batch_size
        self.validation_episodes = validation_episodes
        self.workers = workers
        self.test_split = test_split
        self.test_episodes = test_episodes
        self.test_interval = test_interval
        self._dealt: Deal | None = None

    def prepare_data(self) -> None:
        self.task.prepare()

    def setup(self, stage: str) -> None:
        self.task.setup()
        if self.test_interval == "open":  # before training, to refuse a split that is too small
            _, world = self._place()
            self._dealt = deal_disjoint(
                self.task, self.seed, self.test_split, self.test_episodes, world
            )

    def train_dataloader(self) -> DataLoader[MetaBatch]:
        rank, world = self._place()
        if self.meta_batch_size % world:
            raise UserError(
                f"A meta-batch of {self.meta_batch_size} tasks cannot be split evenly over "
                f"{world} processes. Set data.meta_batch_size to a multiple of {world}."
            )
        step = self.trainer.global_step if self.trainer else 0
        stream = MetaTrainingStream(
            self.task, self.seed, self.meta_batch_size, first_step=step, rank=rank, world=world
        )
        return self._loader(stream)

    def val_dataloader(self) -> DataLoader[MetaBatch]:
        rank, world = self._place()
        return self._loader(
            EvaluationEpisodes(
                self.task,
                self.seed,
                "validation",
                self.validation_episodes,
                self.eval_meta_batch_size,
                rank,
                world,
            )
        )

    def test_dataloader(self) -> DataLoader[MetaBatch]:
        return self._loader(self.tested(*self._place()))

    def tested(self, rank: int = 0, world: int = 1) -> "EvaluationEpisodes":
        """Return the episodes of `trainer.test`, or a rank's share of them; call `setup` first."""
        return EvaluationEpisodes(
            self.task,
            self.seed,
            self.test_split,
            self.test_episodes if self._dealt is None else len(self._dealt.groups),
            self.eval_meta_batch_size,
            rank,
            world,
            self._dealt,
        )

    def truth(self, split: Split, index: Tensor) -> Function | None:
        """Return the function behind the targets of the episode with this index, [1]."""
        return self.task.truth(split, RandomStreams(self.seed, split, index.cpu()))

    def on_after_batch_transfer(self, batch: MetaBatch, dataloader_idx: int) -> MetaBatch:
        assert self.trainer is not None
        dtype = self.trainer.lightning_module.dtype
        assert isinstance(dtype, torch.dtype)
        return gather(self.task, batch, dtype)

    def _loader(self, source: Dataset[MetaBatch]) -> DataLoader[MetaBatch]:
        return DataLoader(
            source,
            batch_size=None,  # a draw is a whole meta-batch
            collate_fn=_identity,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_leave_signals_to_parent,
        )

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


class MetaTrainingStream(IterableDataset[MetaBatch]):
    """The endless stream of meta-batches from `first_step` on; workers take turns."""

    def __init__(
        self,
        task: Task,
        seed: int,
        meta_batch_size: int,
        *,
        first_step: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.task, self.seed, self.meta_batch_size = task, seed, meta_batch_size
        self.first_step, self.rank, self.world = first_step, rank, world

    def __iter__(self) -> Iterator[MetaBatch]:
        worker = get_worker_info()
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        share = self.meta_batch_size // self.world
        together = 1 if self.task.shapes.vary else max(1, BLOCK // share)
        for step in count(self.first_step + first, stride * together):
            steps = step + stride * torch.arange(together)
            starts = steps * self.meta_batch_size + self.rank * share
            indices = (starts[:, None] + torch.arange(share)).flatten()
            block = draw(self.task, self.seed, "train", indices)
            if together == 1:
                yield block
                continue
            tensors, form = tree_flatten(block)
            for parts in zip(*(tensor.split(share) for tensor in tensors), strict=True):
                yield tree_unflatten(parts, form)


class EvaluationEpisodes(Dataset[MetaBatch]):
    """The first episodes of a split, a meta-batch per item; a rank takes every world-th episode.

    With a deal, each episode consists of the examples dealt to it.
    """

    def __init__(
        self,
        task: Task,
        seed: int,
        split: Split,
        episodes: int,
        meta_batch_size: int,
        rank: int = 0,
        world: int = 1,
        deal: Deal | None = None,
    ) -> None:
        self.task, self.seed, self.split, self.deal = task, seed, split, deal
        self.batches = torch.split(torch.arange(rank, episodes, world), meta_batch_size)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, item: int) -> MetaBatch:
        if item >= len(self):
            raise IndexError(item)
        return draw(self.task, self.seed, self.split, self.batches[item], self.deal)


def _leave_signals_to_parent(worker: int) -> None:  # noqa: ARG001 - DataLoader's hook
    leave_signals_to_parent()  # a worker that dies ends the run before it has saved


def _identity(batch: object) -> object:
    return batch


def draw(
    task: Task, seed: int, split: Split, indices: Tensor, deal: Deal | None = None
) -> MetaBatch:
    """Draw the episodes with these indices, not yet gathered, in groups of one shape."""

    def drawn(indices: Tensor) -> Episode:
        if deal is not None:
            return task.draw(split, DisjointStreams(seed, split, indices, deal))
        return task.draw(split, RandomStreams(seed, split, indices))

    if not task.shapes.vary:
        return MetaBatch(indices, drawn(indices))
    shapes = task.shapes.draw(RandomStreams(seed, split, indices))
    _, shape, counts = torch.unique(shapes, dim=0, return_inverse=True, return_counts=True)
    groups = torch.split(indices[shape.argsort(stable=True)], counts.tolist())
    return MetaBatch(torch.cat(groups), [drawn(group) for group in groups])


def deal_disjoint(task: Task, seed: int, split: Split, episodes: int, processes: int = 1) -> Deal:
    """Deal a split's examples to as many episodes as possible, at most `episodes`.

    Raises:
        UserError: if the family has no such episodes, or the split is too small for two episodes,
            or for one per process.

    """
    deal, fewest = task.deal(seed, split, torch.arange(episodes)), max(2, processes)
    if len(deal.groups) < min(fewest, episodes):
        remedy = "compute on fewer processes (device.devices), " if fewest > 2 else ""
        raise UserError(
            f"evaluation.interval=open takes at least {fewest} episodes that share no example, and "
            f"the {split} split of {type(task).__name__} has enough for {len(deal.groups)}. Lower "
            f"task.ways, task.shots or task.queries, add examples, {remedy}or set "
            "evaluation.interval=closed."
        )
    return deal


def gather(task: Task, drawn: MetaBatch, dtype: torch.dtype) -> MetaBatch:
    """Gather drawn episodes, already on the device, in this float type."""
    if isinstance(drawn.episodes, list):
        return MetaBatch(drawn.indices, [task.gather(group, dtype) for group in drawn.episodes])
    return MetaBatch(drawn.indices, task.gather(drawn.episodes, dtype))
