"""Compute chunks of a meta-batch at the same time, each on its share of the CPU's cores.

One task's operations are small. Cores that share each of them wait for one another hundreds of
times, and for cores that are busy with other work. Separate chunks avoid this.
"""

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from queue import SimpleQueue
from typing import Literal, TypeVar

import torch

from metaloop.algorithms.algorithm import Algorithm
from metaloop.arguments import Count
from metaloop.episode import Episode, count_elements
from metaloop.meta_gradient.model_copy import copy_model

ChunksAtOnce = Count | Literal["by_size"]
# `by_size`: number of chunks at once, limited since each holds its graph, and the fewest input
# elements per chunk, since Python runs one thread at a time.
AT_ONCE = 2
FEWEST_ELEMENTS = 2**15
Result = TypeVar("Result")


def side_by_side(
    function: Callable[[Algorithm, Episode], Result],
    algorithm: Algorithm,
    chunks: Sequence[Episode],
    chunks_at_once: ChunksAtOnce,
    *,
    is_threadsafe: bool = False,
) -> Iterator[Result]:
    """Apply a function to every chunk, in their order.

    Args:
        function: of an algorithm and a chunk; uses no random numbers if chunks_at_once is not 1.
        algorithm: first argument of the function. Threads get copies with their own model, since
            a model holds the parameters of its current task.
        chunks: of one meta-batch, at least one.
        chunks_at_once: maximum number of chunks at once. It is limited by torch's threads, and is
            1 on a GPU; `by_size` is two if chunks are large and the threads can be halved.
        is_threadsafe: if true, the function needs no copies.

    """
    cores = torch.get_num_threads()
    threads = min(_at_once(chunks, chunks_at_once, cores), cores, len(chunks))
    if threads < 2 or (algorithm.needs_forward_mode and not is_threadsafe):
        yield from (function(algorithm, chunk) for chunk in chunks)
        return
    free: SimpleQueue[Algorithm] = SimpleQueue()
    for thread in range(threads):
        free.put(algorithm if is_threadsafe or thread == 0 else _copy(algorithm))
    share = cores // threads
    # torch keeps these settings per thread
    gradients, half = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu")

    def compute(chunk: Episode) -> Result:
        own = free.get()
        try:
            with torch.set_grad_enabled(gradients), torch.autocast("cpu", dtype, enabled=half):
                torch.set_num_threads(share)
                return function(own, chunk)
        finally:
            free.put(own)

    pool = _pool(threads)
    torch.set_num_threads(share)  # part of this setting is the process's
    waiting = deque(pool.submit(copy_context().run, compute, chunk) for chunk in chunks)
    try:
        while waiting:
            waiting[0].result()  # Ctrl-C also waits for the running chunk
            yield waiting.popleft().result()
    finally:
        wait([result for result in waiting if not result.cancel()])
        torch.set_num_threads(cores)


def _at_once(chunks: Sequence[Episode], chunks_at_once: ChunksAtOnce, cores: int) -> int:
    sets = (chunks[0].support.inputs, chunks[0].query.inputs)
    if chunks[0].classes.device.type != "cpu":
        return 1
    if chunks_at_once != "by_size":
        return chunks_at_once
    is_large = sum(map(count_elements, sets)) >= FEWEST_ELEMENTS
    return AT_ONCE if is_large and cores % AT_ONCE == 0 else 1


def _copy(algorithm: Algorithm) -> Algorithm:
    """Copy the algorithm with a separate model that shares the same tensors."""
    model = algorithm.objective.model
    copied = copy_model(model, shared=[*model.parameters(), *model.buffers()])
    return algorithm.judged_by(replace(algorithm.objective, model=copied))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Create threads that stay alive, since libraries keep set-up work per thread."""
    return ThreadPoolExecutor(threads, thread_name_prefix="chunk")


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads are not forked
