"""Freed memory stays with the process, for the next meta-step to take.

The C library gives large blocks back to the system when they are freed, and the system clears every
page of those it hands out again. The graph of a meta-step on images is hundreds of megabytes, freed
and asked for anew each time: a fifth of the time on a processor.
"""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
NEVER = -1
LARGEST = 2**30  # bytes of a block that is kept; what is larger is a data set's, and goes back
LARGEST_ONCE = 2**25  # all that older libraries take
SET_BY_USER = (
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)


def keep_freed_memory() -> None:
    """Have malloc keep what this process frees; not where the user has set malloc up already.

    Of glibc; another C library or a malloc that stands in for its own (jemalloc) stays as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or any(name in os.environ for name in SET_BY_USER):
        return
    mallopt(M_TRIM_THRESHOLD, NEVER)
    mallopt(M_ARENA_MAX, 1)  # a thread's own arena gives back all that it frees
    if not mallopt(M_MMAP_THRESHOLD, LARGEST):
        mallopt(M_MMAP_THRESHOLD, LARGEST_ONCE)
