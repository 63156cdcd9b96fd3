"""From one task to a meta-batch: chunks, vmap, task by task. Nowhere else.

A meta-batch [T, ...] is gone through `tasks_at_once` tasks at a time, so that the graphs of the
chunks being computed are all that ever exists: a vmap whose loss waits for a later backward would
hold every chunk's.
"""

import math
import operator
from collections.abc import Callable, Iterator
from typing import Literal, TypedDict, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from metaloop.algorithms.algorithm import Algorithm
from metaloop.algorithms.side_by_side import ChunksAtOnce, side_by_side
from metaloop.arguments import Count
from metaloop.episode import Episode
from metaloop.inner_loop import Parameters, Report
from metaloop.models.kernels import kernels_for

TasksAtOnce = Count | Literal["all", "by_size"]
# How many input numbers a chunk `by_size` holds on a processor, whose caches larger ones leave; and
# how few are not worth vectorising, of many tasks or of a few tasks of images. Measured on Conv4 of
# 14 x 14 to 84 x 84 images, where two tasks at once are nearly always slower than one.
NUMBERS_AT_ONCE = 2**17
FEWEST_AT_ONCE = 4
FEWEST_OF_IMAGES = 3
Gradient = dict[str, Tensor]
ChunkGradient = Callable[[Algorithm, Parameters, Episode, int], tuple[Gradient, Report]]
Tree = TypeVar("Tree")


class AtOnce(TypedDict):
    """How a meta-batch is gone through: see `chunks` and `side_by_side`."""

    tasks_at_once: TasksAtOnce
    chunks_at_once: ChunksAtOnce


def meta_gradient(
    algorithm: Algorithm,
    meta: Parameters,
    episodes: Episode,
    *,
    tasks_at_once: TasksAtOnce = "all",
    chunks_at_once: ChunksAtOnce = 1,
    of_chunk: ChunkGradient | None = None,
) -> tuple[Gradient, Report]:
    """The gradient of the mean meta-loss over a meta-batch, detached, with the reports.

    grad_meta 1/T sum_t meta_loss(meta, episode_t): Finn et al. 2017, Algorithm 1, line 8.
    `of_chunk` computes a chunk's share in any thread; a compiled `chunk_gradient`, for one.
    `tasks_at_once` and `chunks_at_once` change rounding alone; see `chunks` and `side_by_side`.

    Shapes (legend in episode.py):
        episodes       [T, ...]
        gradient[name] the shape of meta[name]
        report[name]   [T]
    """
    meta = {name: p.detach() for name, p in meta.items()}
    tasks = len(episodes.classes)

    def share(algorithm: Algorithm, chunk: Episode) -> tuple[Gradient, Report]:
        return (of_chunk or chunk_gradient)(algorithm, meta, chunk, tasks)

    total, reports = None, []
    parts = list(chunks(episodes, tasks_at_once))
    for gradient, report in side_by_side(
        share, algorithm, parts, chunks_at_once, is_threadsafe=of_chunk is not None
    ):
        total = gradient if total is None else _add(total, gradient)
        reports.append(report)
    assert total is not None, "a meta-batch has at least one task"
    return total, concatenate(reports)


def chunk_gradient(
    algorithm: Algorithm, meta: Parameters, chunk: Episode, tasks: int
) -> tuple[Gradient, Report]:
    """One chunk's share of the meta-gradient of `tasks` tasks, with its reports."""

    def share(meta: Parameters) -> tuple[Tensor, Report]:
        losses, report = over_tasks(lambda task: algorithm.meta_loss(meta, task), chunk)
        return losses.sum() / tasks, report

    # not torch.func.grad, which records its own backward for one more derivative
    with torch.enable_grad():
        leaves = {name: p.detach().requires_grad_() for name, p in meta.items()}
        loss, report = share(leaves)
        found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    gradient = dict(zip(leaves, found, strict=True))
    return gradient, {name: values.detach() for name, values in report.items()}


def over_tasks(function: Callable[[Episode], Tree], chunk: Episode) -> Tree:
    """Apply a function of one task to each of a chunk; a single task needs no vmap."""
    with kernels_for(len(chunk.classes)):
        if len(chunk.classes) > 1:
            return torch.func.vmap(function, randomness="different")(chunk)
        result = function(_map(_alone, chunk))
    return _map(lambda tensor: tensor.unsqueeze(0), result)


def _alone(tensor: Tensor) -> Tensor:
    """One task's tensor, an image's channels last: so a processor's convolutions are faster."""
    tensor = tensor.squeeze(0)
    if tensor.ndim != 4 or not tensor.is_floating_point() or tensor.device.type != "cpu":
        return tensor
    _, channels, height, width = tensor.shape
    if channels == 1 and tensor.is_contiguous():
        # both orders are the same in memory, and only the strides tell a convolution which it is
        return tensor.as_strided(tensor.shape, (height * width, 1, width, 1))
    return tensor.to(memory_format=torch.channels_last)


def chunks(episodes: Episode, tasks_at_once: TasksAtOnce) -> Iterator[Episode]:
    """The meta-batch, tasks_at_once tasks at a time.

    `by_size` takes all on an accelerator, and on a processor as many as its caches hold, or one
    where those are few.
    """
    tasks = len(episodes.classes)
    if tasks_at_once == "by_size":
        size = _size_that_fits(episodes)
    else:
        size = tasks if tasks_at_once == "all" else tasks_at_once
    if size >= tasks:
        yield episodes
        return
    for start in range(0, tasks, size):
        yield _map(operator.itemgetter(slice(start, start + size)), episodes)


def _size_that_fits(episodes: Episode) -> int:
    inputs, tasks = (episodes.support.inputs, episodes.query.inputs), len(episodes.classes)
    if inputs[0].device.type != "cpu":
        return tasks
    at_most = NUMBERS_AT_ONCE * tasks // sum(x.numel() for x in inputs)
    fewest = min(tasks, FEWEST_AT_ONCE)
    if inputs[0].ndim == 5:  # [tasks, rows, channels, height, width]
        fewest = max(fewest, FEWEST_OF_IMAGES)
    if min(tasks, at_most) < fewest:
        return 1
    parts = math.ceil(tasks / at_most)
    return math.ceil(tasks / parts)  # chunks of one size, where that can be


def _map(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    mapped: Tree = pytree.tree_map(function, tree)
    return mapped


def _add(total: Gradient, gradient: Gradient) -> Gradient:
    return {name: total[name] + gradient[name] for name in total}


def concatenate(reports: list[Report]) -> Report:
    """The chunks' reports as the meta-batch's."""
    if len(reports) == 1:
        return reports[0]
    return {name: torch.cat([r[name] for r in reports]) for name in reports[0]}
