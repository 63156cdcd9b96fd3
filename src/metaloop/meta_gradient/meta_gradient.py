"""Compute the meta-gradient of a meta-batch: the one function that the trainer calls.

The gradient is taken chunk by chunk, so that only the current chunks' graphs are in memory. A
vmapped loss with a later backward would hold the graphs of all chunks.
"""

from collections.abc import Callable
from typing import TypedDict

import torch
from torch import Tensor

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode, Episodes, of_one_shape
from metaloop.errors import UserError
from metaloop.inner_loop import Parameters, Report
from metaloop.meta_gradient.chunks import TasksAtOnce, chunks, concatenate, over_tasks
from metaloop.meta_gradient.side_by_side import ChunksAtOnce, side_by_side

Gradient = dict[str, Tensor]
ChunkGradient = Callable[[Algorithm, Parameters, Episode, int], tuple[Gradient, Report]]


class AtOnce(TypedDict):
    """Arguments that split a meta-batch; see `chunks` and `side_by_side`."""

    tasks_at_once: TasksAtOnce
    chunks_at_once: ChunksAtOnce


def meta_gradient(
    algorithm: Algorithm,
    meta: Parameters,
    episodes: Episodes,
    *,
    tasks_at_once: TasksAtOnce = "all",
    chunks_at_once: ChunksAtOnce = 1,
    of_chunk: ChunkGradient | None = None,
) -> tuple[Gradient, Report]:
    """Compute the gradient of the mean meta-loss over a meta-batch, detached, with the reports.

    grad_meta 1/T sum_t meta_loss(meta, episode_t): Finn et al. 2017, Algorithm 1, line 8.
    `of_chunk` replaces `chunk_gradient`, by a compiled one for instance; it must be threadsafe.
    `tasks_at_once` and `chunks_at_once` only change rounding; see `chunks` and `side_by_side`.

    Shapes (legend in episode.py):
        episodes       [T, ...], or a list of such, one for each shape of its tasks
        gradient[name] the shape of meta[name]
        report[name]   [T]

    Raises:
        UserError: if nothing is learned.

    """
    if not meta.keys() - algorithm.untrained:
        raise UserError(
            "Nothing is left to learn: all that the meta-loss depends on is frozen "
            "(requires_grad=False). Unfreeze some of it, or evaluate the network as it is: "
            "training.max_steps=0."
        )
    meta = {name: p.detach() for name, p in meta.items()}
    tasks = sum(len(group.classes) for group in of_one_shape(episodes))

    def share(algorithm: Algorithm, chunk: Episode) -> tuple[Gradient, Report]:
        fitted = algorithm.for_ways(chunk.classes.shape[-1])
        return (of_chunk or chunk_gradient)(fitted, meta, chunk, tasks)

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
    """Compute one chunk's share of the meta-gradient of `tasks` tasks, with its reports."""

    def share(meta: Parameters) -> tuple[Tensor, Report]:
        model = algorithm.objective.model
        losses, report = over_tasks(lambda task: algorithm.meta_loss(meta, task), chunk, model)
        return losses.sum() / tasks, report

    # not torch.func.grad, which would record the backward pass for another derivative
    with torch.enable_grad():
        leaves = {name: p.detach().requires_grad_() for name, p in meta.items()}
        loss, report = share(leaves)
        found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    gradient = dict(zip(leaves, found, strict=True))
    return gradient, {name: values.detach() for name, values in report.items()}


def _add(total: Gradient, gradient: Gradient) -> Gradient:
    return {name: total[name] + gradient[name] for name in total}
