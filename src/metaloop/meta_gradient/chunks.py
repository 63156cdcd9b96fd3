"""How a meta-batch is split into chunks, and how a function of one task is applied to each.

A chunk is `tasks_at_once` tasks, vectorised together; one task alone goes without vmap.
"""

import math
import operator
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from metaloop.arguments import Count
from metaloop.episode import Episode, Episodes, count_elements, of_one_shape, tensors_of
from metaloop.inner_loop import Report
from metaloop.meta_gradient.known_exact import is_known_model

TasksAtOnce = Count | Literal["all", "by_size"]
# `by_size` on a CPU: the most input elements of a chunk that stay in the caches, and the fewest
# tasks that are worth vectorising, in general and for images. Measured on Conv4 of 14 x 14 to
# 84 x 84 images, where two tasks at once are nearly always slower than one.
NUMBERS_AT_ONCE = 2**17
FEWEST_AT_ONCE = 4
FEWEST_OF_IMAGES = 3
Tree = TypeVar("Tree")
_KNOWN: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def chunks(episodes: Episodes, tasks_at_once: TasksAtOnce) -> Iterator[Episode]:
    """The meta-batch, tasks_at_once tasks at a time, each chunk of one shape.

    `by_size` takes all on an accelerator, and on a processor as many as its caches hold, or one
    where those are few.
    """
    for group in of_one_shape(episodes):
        yield from _cut(group, tasks_at_once)


def _cut(episodes: Episode, tasks_at_once: TasksAtOnce) -> Iterator[Episode]:
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
    if episodes.classes.device.type != "cpu":
        return tasks
    at_most = NUMBERS_AT_ONCE * tasks // sum(map(count_elements, inputs))
    fewest = min(tasks, FEWEST_AT_ONCE)
    if tensors_of(inputs[0])[0].ndim == 5:  # [tasks, rows, channels, height, width]
        fewest = max(fewest, FEWEST_OF_IMAGES)
    if min(tasks, at_most) < fewest:
        return 1
    parts = math.ceil(tasks / at_most)
    return math.ceil(tasks / parts)  # chunks of one size, where that can be


def over_tasks(function: Callable[[Episode], Tree], chunk: Episode, model: nn.Module) -> Tree:
    """Apply a function of one task to each of a chunk; a single task needs no vmap.

    Its images have their channels last where the model is known to take them so, on a processor:
    other models may view what a convolution puts out, which fails in that layout.
    """
    if len(chunk.classes) > 1:
        return torch.func.vmap(function, randomness="different")(chunk)
    alone = _channels_last if _takes_channels_last(model) else _alone
    result = function(_map(alone, chunk))
    return _map(lambda tensor: tensor.unsqueeze(0), result)


def _takes_channels_last(model: nn.Module) -> bool:
    """Ask once a model: a meta-step asks at every task."""
    if model not in _KNOWN:
        _KNOWN[model] = is_known_model(model)
    return _KNOWN[model]


def _alone(tensor: Tensor) -> Tensor:
    return tensor.squeeze(0)


def _channels_last(tensor: Tensor) -> Tensor:
    """One task's tensor, an image's channels last: so a processor's convolutions are faster."""
    tensor = tensor.squeeze(0)
    if tensor.ndim != 4 or not tensor.is_floating_point() or tensor.device.type != "cpu":
        return tensor
    _, channels, height, width = tensor.shape
    if channels == 1 and tensor.is_contiguous():
        # both orders are the same in memory, and only the strides tell a convolution which it is
        return tensor.as_strided(tensor.shape, (height * width, 1, width, 1))
    return tensor.to(memory_format=torch.channels_last)


def _map(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    mapped: Tree = pytree.tree_map(function, tree)
    return mapped


def concatenate(reports: list[Report]) -> Report:
    """The chunks' reports as the meta-batch's."""
    if len(reports) == 1:
        return reports[0]
    return {name: torch.cat([r[name] for r in reports]) for name in reports[0]}
