"""Chunks of a meta-batch at the same time, each on its share of the processor's cores.

One task's operations are small: cores that share each of them wait for one another hundreds of
times, and for a core that is busy with other work. A chunk of their own keeps them apart.
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
# How many chunks `by_size` computes at a time, since each holds its graph; and of how many input
# numbers, since Python computes one thing at a time.
AT_ONCE = 2
FEWEST_NUMBERS = 2**15
Result = TypeVar("Result")


def side_by_side(
    function: Callable[[Algorithm, Episode], Result],
    algorithm: Algorithm,
    chunks: Sequence[Episode],
    chunks_at_once: ChunksAtOnce,
    *,
    is_threadsafe: bool = False,
) -> Iterator[Result]:
    """The function of every chunk, in their order, whichever is done first.

    Args:
        function: of an algorithm and a chunk; draws no chance where chunks_at_once is not 1.
        algorithm: what the function is given; or copies, each with a model of its own, as a model
            holds the parameters of the task that it computes.
        chunks: of one meta-batch, at least one.
        chunks_at_once: at most so many: no more than torch has threads, and on a GPU one;
            `by_size` is two where they are large and the threads can be halved.
        is_threadsafe: whether the function needs no copies.

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
    # torch keeps these for each thread
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
    torch.set_num_threads(share)  # a part of it is the process's, not a thread's
    waiting = deque(pool.submit(copy_context().run, compute, chunk) for chunk in chunks)
    try:
        while waiting:
            waiting[0].result()  # in line until it is done: who interrupts waits for it, too
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
    is_large = sum(map(count_elements, sets)) >= FEWEST_NUMBERS
    return AT_ONCE if is_large and cores % AT_ONCE == 0 else 1


def _copy(algorithm: Algorithm) -> Algorithm:
    """The same algorithm with a model of its own, which holds the same tensors."""
    model = algorithm.objective.model
    copied = copy_model(model, shared=[*model.parameters(), *model.buffers()])
    return algorithm.judged_by(replace(algorithm.objective, model=copied))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay: each keeps what libraries have set up in it."""
    return ThreadPoolExecutor(threads, thread_name_prefix="chunk")


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads are not forked
