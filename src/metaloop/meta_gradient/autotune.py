"""Find the fastest way to compute a meta-gradient on this machine, by timing trial runs."""

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
SLOWER = 1.5  # stop adding tasks or chunks at once when this much slower than the best neighbour
COMPILED_SIZES = 2  # compile only the fastest few sizes: a compilation takes a minute


class Way(NamedTuple):
    """A way to compute: the arguments of meta_gradient (1 task: no vmap), compiled or not."""

    tasks_at_once: TasksAtOnce
    chunks_at_once: ChunksAtOnce
    compile: bool

    def is_neighbour(self, other: "Way") -> bool:
        """Check whether the two differ only in tasks or only in chunks at once."""
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

    The search stops before more tasks or chunks at once would exceed the memory, and once they are
    much slower than the best. A compiled way counts only if it equals the eager gradient.
    """
    found: dict[Way, float] = {}
    exact = AtOnce(tasks_at_once="all", chunks_at_once="by_size")
    if tasks_at_once is None or chunks_at_once is None:
        exact = _find_exact(algorithm, meta, episodes, exact)
    open_sizes = _sizes(episodes, exact)
    sizes: Iterable[TasksAtOnce] = open_sizes if tasks_at_once is None else [tasks_at_once]
    memory = _Memory(episodes)

    def should_continue(way: Way) -> bool:
        """Time one way; True if more at once may be faster."""
        if not memory.fits():
            announce(f"{way}: not tried, since it may not fit into memory.")
            return False
        try:
            found[way] = _seconds(algorithm, meta, episodes, way)
        except torch.cuda.OutOfMemoryError:
            announce(f"{way}: does not fit into memory.")
            return False
        announce(f"{way}: {1e3 * found[way]:.1f} ms per meta-step")
        best = min(found[other] for other in found if way.is_neighbour(other))
        return found[way] <= SLOWER * best

    for size in sizes:
        counts = _chunk_counts(episodes, exact, size, chunks_at_once)
        if not should_continue(Way(size, next(counts), compile=False)):
            break
        for count in counts:
            if not should_continue(Way(size, count, compile=False)):
                break
    eager = sorted(found, key=found.__getitem__)
    if compile is False:
        return eager[0]
    for tried in eager[:COMPILED_SIZES]:
        of_chunk, way = CompiledChunkGradient(announce), tried._replace(compile=True)
        seconds = _seconds(algorithm, meta, episodes, way, of_chunk)
        if of_chunk.is_used:
            found[way] = seconds
            announce(f"{way}: {1e3 * seconds:.1f} ms per meta-step")
    compiled = [way for way in found if way.compile]
    return min(compiled if compile and compiled else found, key=found.__getitem__)


def _find_exact(algorithm: Algorithm, meta: Parameters, episodes: Episode, asked: AtOnce) -> AtOnce:
    verdict = preflight_check(algorithm, meta, episodes, asked)
    warn_of_slower(verdict)
    return verdict.at_once


def _sizes(episodes: Episode, exact: AtOnce) -> Iterator[int]:
    """Yield 1, 2, 4 .. tasks at once, up to all; only 1 where vmap is not exact."""
    yield 1
    if exact["tasks_at_once"] != 1:
        yield from _powers_up_to(len(episodes.classes))


def _chunk_counts(
    episodes: Episode,
    exact: AtOnce,
    tasks_at_once: TasksAtOnce,
    chunks_at_once: ChunksAtOnce | None,
) -> Iterator[ChunksAtOnce]:
    """Yield the given number, else 1, 2, 4 .. up to the chunks and threads there are, if exact."""
    if chunks_at_once is not None:
        yield chunks_at_once
        return
    yield 1
    most = 1
    if episodes.classes.device.type == "cpu":
        most = min(torch.get_num_threads(), len(list(chunks(episodes, tasks_at_once))))
    if most > 1 and exact["chunks_at_once"] != 1:
        yield from _powers_up_to(most)


def _powers_up_to(most: int) -> Iterator[int]:
    """Yield 2, 4, 8 .. and finally `most`."""
    count = 1
    while count < most:
        count = min(2 * count, most)
        yield count


def _seconds(
    algorithm: Algorithm,
    meta: Parameters,
    episodes: Episode,
    way: Way,
    of_chunk: CompiledChunkGradient | None = None,
) -> float:
    """Measure the median time of a meta-gradient, after a warm-up."""
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
    """Estimate whether twice the tasks at once fit: the memory used so far is doubled."""

    def __init__(self, episodes: Episode) -> None:
        self.on_cuda = episodes.classes.is_cuda  # running out of GPU memory is recoverable
        self.before, self.free = _resident(), _free()

    def fits(self) -> bool:
        """Check before each size; always true before the first."""
        return self.on_cuda or 2 * (_resident() - self.before) < 0.8 * self.free


def _resident() -> int:
    """Return the peak memory of this process in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _free() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
