"""The fastest way to compute a meta-gradient here, found by trying on throw-away results."""

import os
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode
from metaloop.inner_loop import Parameters
from metaloop.meta_gradient.chunks import TasksAtOnce, chunks
from metaloop.meta_gradient.compiled import CompiledChunkGradient
from metaloop.meta_gradient.meta_gradient import AtOnce, meta_gradient
from metaloop.meta_gradient.preflight.checks import preflight_check, warn_of_slower
from metaloop.meta_gradient.random_state import keep_random_state
from metaloop.meta_gradient.side_by_side import ChunksAtOnce

REPEATS = 3
SLOWER = 1.5  # than the best beside: more tasks or chunks at once are slower still
COMPILED_SIZES = 2  # a compilation takes a minute: the fastest numbers of tasks alone are compiled


class Way(NamedTuple):
    """How to compute: in meta_gradient's words (1 task at once: without vmap), compiled or not."""

    tasks_at_once: TasksAtOnce
    chunks_at_once: ChunksAtOnce
    compile: bool

    def is_beside(self, other: "Way") -> bool:
        """Whether the two differ in one number of their tasks and chunks at most."""
        return self.tasks_at_once == other.tasks_at_once or (
            self.chunks_at_once == other.chunks_at_once
        )

    def __str__(self) -> str:
        chunks = "" if self.chunks_at_once in (1, "by_size") else f", {self.chunks_at_once} chunks"
        return f"{self.tasks_at_once} tasks at once{chunks}{', compiled' * self.compile}"


def find_fastest(
    algorithm: Algorithm,
    meta: Parameters,
    episodes: Episode,
    *,
    tasks_at_once: TasksAtOnce | None,
    chunks_at_once: ChunksAtOnce | None,
    compile: bool | None,
    announce: Callable[[str], None] = lambda _: None,
) -> Way:
    """Time the ways that are left open (None) on one meta-batch, and return the fastest.

    More tasks and chunks at once are not tried where their memory would not fit, and no further
    once the last were much slower than the best. Only what equals the eager gradient counts as
    compiled.
    """
    found: dict[Way, float] = {}
    exact = AtOnce(tasks_at_once="all", chunks_at_once="by_size")
    if tasks_at_once is None or chunks_at_once is None:
        exact = _exact(algorithm, meta, episodes, exact)
    open_sizes = _sizes(episodes, exact)
    sizes: Iterable[TasksAtOnce] = open_sizes if tasks_at_once is None else [tasks_at_once]
    memory = _Memory(episodes)

    def is_worth_more(way: Way) -> bool:
        """Try it; whether more at once may be faster still."""
        if not memory.fits():
            announce(f"{way} are not tried: they may not fit the memory.")
            return False
        try:
            found[way] = _seconds(algorithm, meta, episodes, way)
        except torch.cuda.OutOfMemoryError:
            announce(f"{way} do not fit the memory.")
            return False
        announce(f"{way}: {1e3 * found[way]:.1f} ms a meta-step")
        return found[way] <= SLOWER * min(found[other] for other in found if way.is_beside(other))

    for size in sizes:
        numbers = _chunks(episodes, exact, size, chunks_at_once)
        if not is_worth_more(Way(size, next(numbers), compile=False)):
            break
        for number in numbers:
            if not is_worth_more(Way(size, number, compile=False)):
                break
    eager = sorted(found, key=found.__getitem__)
    if compile is False:
        return eager[0]
    for tried in eager[:COMPILED_SIZES]:
        of_chunk, way = CompiledChunkGradient(announce), tried._replace(compile=True)
        seconds = _seconds(algorithm, meta, episodes, way, of_chunk)
        if of_chunk.is_used:
            found[way] = seconds
            announce(f"{way}: {1e3 * seconds:.1f} ms a meta-step")
    compiled = [way for way in found if way.compile]
    return min(compiled if compile and compiled else found, key=found.__getitem__)


def _exact(algorithm: Algorithm, meta: Parameters, episodes: Episode, asked: AtOnce) -> AtOnce:
    verdict = preflight_check(algorithm, meta, episodes, asked)
    warn_of_slower(verdict)
    return verdict.at_once


def _sizes(episodes: Episode, exact: AtOnce) -> Iterator[int]:
    """1, 2, 4 .. tasks at once, and all; 1 alone where vmap is not exact."""
    yield 1
    if exact["tasks_at_once"] != 1:
        yield from _doubled(len(episodes.classes))


def _chunks(
    episodes: Episode,
    exact: AtOnce,
    tasks_at_once: TasksAtOnce,
    chunks_at_once: ChunksAtOnce | None,
) -> Iterator[ChunksAtOnce]:
    """Those asked for; else 1, 2, 4 .. as far as there are chunks and threads, if it is exact."""
    if chunks_at_once is not None:
        yield chunks_at_once
        return
    yield 1
    most = 1
    if episodes.classes.device.type == "cpu":
        most = min(torch.get_num_threads(), len(list(chunks(episodes, tasks_at_once))))
    if most > 1 and exact["chunks_at_once"] != 1:
        yield from _doubled(most)


def _doubled(most: int) -> Iterator[int]:
    """2, 4, 8 .. and the most."""
    number = 1
    while number < most:
        number = min(2 * number, most)
        yield number


def _seconds(
    algorithm: Algorithm,
    meta: Parameters,
    episodes: Episode,
    way: Way,
    of_chunk: CompiledChunkGradient | None = None,
) -> float:
    """The median time of a meta-gradient, after one that is not counted."""
    times = []
    with keep_random_state(episodes.classes.device):
        for _ in range(1 + REPEATS):
            start = time.perf_counter()
            meta_gradient(
                algorithm,
                meta,
                episodes,
                tasks_at_once=way.tasks_at_once,
                chunks_at_once=way.chunks_at_once,
                of_chunk=of_chunk,
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
