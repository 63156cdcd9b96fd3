"""The fastest way to compute a meta-gradient here, found by trying on throw-away results."""

import os
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch

from metaloop.algorithms.algorithm import Algorithm
from metaloop.algorithms.compilation import CompiledChunkGradient
from metaloop.algorithms.meta_gradient import TasksAtOnce, meta_gradient
from metaloop.algorithms.vmap_check import exact_tasks_at_once
from metaloop.chance import untouched_chance
from metaloop.episode import Episode
from metaloop.inner_loop import Parameters

REPEATS = 3
SLOWER = 1.5  # than the best: more tasks at once are slower still
COMPILED_SIZES = 2  # a compilation takes a minute: the fastest numbers of tasks alone are compiled


class Way(NamedTuple):
    """How to compute: how many tasks at once (1: task by task, without vmap), compiled or not."""

    tasks_at_once: TasksAtOnce
    compile: bool


def find_fastest(
    algorithm: Algorithm,
    meta: Parameters,
    episodes: Episode,
    *,
    tasks_at_once: TasksAtOnce | None,
    compile: bool | None,
    announce: Callable[[str], None] = lambda _: None,
) -> Way:
    """Time the ways that are left open (None) on one meta-batch, and return the fastest.

    More tasks at once are not tried where their memory would not fit, and no further once the
    last were much slower than the best. Only what equals the eager gradient counts as compiled.
    """
    found: dict[Way, float] = {}
    open_sizes = _sizes(algorithm, meta, episodes)
    sizes: Iterable[TasksAtOnce] = open_sizes if tasks_at_once is None else [tasks_at_once]
    memory = _Memory(episodes)
    for size in sizes:
        if not memory.fits():
            announce(f"{size} tasks at once are not tried: they may not fit the memory.")
            break
        way = Way(size, False)
        try:
            found[way] = _seconds(algorithm, meta, episodes, way)
        except torch.cuda.OutOfMemoryError:
            announce(f"{size} tasks at once do not fit the memory.")
            break
        announce(f"{size} tasks at once: {1e3 * found[way]:.1f} ms a meta-step")
        if found[way] > SLOWER * min(found.values()):
            break
    eager = sorted(found, key=found.__getitem__)
    if compile is False:
        return eager[0]
    for size, _ in eager[:COMPILED_SIZES]:
        of_chunk = CompiledChunkGradient(announce)
        seconds = _seconds(algorithm, meta, episodes, Way(size, True), of_chunk)
        if of_chunk.is_used:
            found[Way(size, True)] = seconds
            announce(f"{size} tasks at once, compiled: {1e3 * seconds:.1f} ms a meta-step")
    compiled = [way for way in found if way.compile]
    return min(compiled if compile and compiled else found, key=found.__getitem__)


def _sizes(algorithm: Algorithm, meta: Parameters, episodes: Episode) -> Iterator[int]:
    """1, 2, 4 .. tasks at once, and all; 1 alone where vmap is not exact."""
    tasks = len(episodes.classes)
    size = 1
    yield size
    if exact_tasks_at_once(algorithm, meta, episodes, "all") == 1:
        return
    while size < tasks:
        size = min(2 * size, tasks)
        yield size


def _seconds(
    algorithm: Algorithm,
    meta: Parameters,
    episodes: Episode,
    way: Way,
    of_chunk: CompiledChunkGradient | None = None,
) -> float:
    """The median time of a meta-gradient, after one that is not counted."""
    times = []
    with untouched_chance(episodes.classes.device):
        for _ in range(1 + REPEATS):
            start = time.perf_counter()
            meta_gradient(
                algorithm, meta, episodes, tasks_at_once=way.tasks_at_once, of_chunk=of_chunk
            )
            if episodes.classes.is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


class _Memory:
    """Whether more tasks at once may be tried: what the last ones took is taken to double."""

    def __init__(self, episodes: Episode) -> None:
        self.on_cuda = episodes.classes.is_cuda  # where running out of memory can be survived
        self.before, self.free = _resident(), _free()

    def fits(self) -> bool:
        """Ask before each number of tasks; of the first nothing is known."""
        return self.on_cuda or 2 * (_resident() - self.before) < 0.8 * self.free


def _resident() -> int:
    """The most bytes that this process has held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _free() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
