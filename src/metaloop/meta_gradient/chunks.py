"""Split a meta-batch into chunks, and apply a function of one task to each chunk.

A chunk is `tasks_at_once` tasks, vectorised together; a chunk of one task uses no vmap.
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
# `by_size` on a CPU: the most input elements of a chunk that fit into the caches, and the fewest
# tasks that pay for vectorising, in general and for images. Measured on Conv4 with 14 x 14 to
# 84 x 84 images, where two tasks at once are nearly always slower than one.
ELEMENTS_AT_ONCE = 2**17
FEWEST_AT_ONCE = 4
FEWEST_OF_IMAGES = 3
Tree = TypeVar("Tree")
_IS_KNOWN: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def chunks(episodes: Episodes, tasks_at_once: TasksAtOnce) -> Iterator[Episode]:
    """Split the meta-batch into chunks of tasks_at_once tasks, each of one shape.

    `by_size` takes all tasks on an accelerator. On a CPU it takes as many as fit into the caches,
    or one if that is too few to pay for vectorising.
    """
    for group in of_one_shape(episodes):
        yield from _cut(group, tasks_at_once)


def _cut(episodes: Episode, tasks_at_once: TasksAtOnce) -> Iterator[Episode]:
    tasks = len(episodes.classes)
    if tasks_at_once == "by_size":
        size = _cached_size(episodes)
    else:
        size = tasks if tasks_at_once == "all" else tasks_at_once
    if size >= tasks:
        yield episodes
        return
    for start in range(0, tasks, size):
        yield _map(operator.itemgetter(slice(start, start + size)), episodes)


def _cached_size(episodes: Episode) -> int:
    inputs, tasks = (episodes.support.inputs, episodes.query.inputs), len(episodes.classes)
    if episodes.classes.device.type != "cpu":
        return tasks
    at_most = ELEMENTS_AT_ONCE * tasks // sum(map(count_elements, inputs))
    fewest = min(tasks, FEWEST_AT_ONCE)
    if tensors_of(inputs[0])[0].ndim == 5:  # [tasks, rows, channels, height, width]
        fewest = max(fewest, FEWEST_OF_IMAGES)
    if min(tasks, at_most) < fewest:
        return 1
    parts = math.ceil(tasks / at_most)
    return math.ceil(tasks / parts)  # equal chunks, where possible


def over_tasks(function: Callable[[Episode], Tree], chunk: Episode, model: nn.Module) -> Tree:
    """Apply a function of one task to each task of a chunk; a single task needs no vmap.

    On a CPU a single task's images are made channels-last if the model is known to support it.
    Other models may call `view` on a convolution's output, which fails in that layout.
    """
    if len(chunk.classes) > 1:
        return torch.func.vmap(function, randomness="different")(chunk)
    alone = _channels_last if _takes_channels_last(model) else _drop_task
    result = function(_map(alone, chunk))
    return _map(lambda tensor: tensor.unsqueeze(0), result)


def _takes_channels_last(model: nn.Module) -> bool:
    """Check whether a model supports channels-last; cached, since each task asks."""
    if model not in _IS_KNOWN:
        _IS_KNOWN[model] = is_known_model(model)
    return _IS_KNOWN[model]


def _drop_task(tensor: Tensor) -> Tensor:
    return tensor.squeeze(0)


def _channels_last(tensor: Tensor) -> Tensor:
    """Drop the task dimension; make images channels-last, for faster convolutions on a CPU."""
    tensor = tensor.squeeze(0)
    if tensor.ndim != 4 or not tensor.is_floating_point() or tensor.device.type != "cpu":
        return tensor
    _, channels, height, width = tensor.shape
    if channels == 1 and tensor.is_contiguous():
        # both layouts are the same in memory; only strides tell a convolution which one it is
        return tensor.as_strided(tensor.shape, (height * width, 1, width, 1))
    return tensor.to(memory_format=torch.channels_last)


def _map(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    mapped: Tree = pytree.tree_map(function, tree)
    return mapped


def concatenate(reports: list[Report]) -> Report:
    """Concatenate the chunks' reports into the meta-batch's."""
    if len(reports) == 1:
        return reports[0]
    return {name: torch.cat([r[name] for r in reports]) for name in reports[0]}
