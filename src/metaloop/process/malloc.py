"""Keep freed memory in the process, for the next meta-step.

The C library returns large freed blocks to the system, which clears every page before handing it
out again. The graph of a meta-step on images takes hundreds of megabytes, freed and allocated each
time: a fifth of the time on a CPU.
"""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
NEVER = -1
LARGEST = 2**30  # largest block in bytes that is kept; larger ones are data sets, and returned
LARGEST_ONCE = 2**25  # the maximum in older libraries
SET_BY_USER = (
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)


def keep_freed_memory() -> None:
    """Make malloc keep memory that this process frees, unless the user has configured malloc.

    Only for glibc; other C libraries and replacements of malloc (jemalloc) are not changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or any(name in os.environ for name in SET_BY_USER):
        return
    mallopt(M_TRIM_THRESHOLD, NEVER)
    mallopt(M_ARENA_MAX, 1)  # per-thread arenas would return what they free
    if not mallopt(M_MMAP_THRESHOLD, LARGEST):
        mallopt(M_MMAP_THRESHOLD, LARGEST_ONCE)
