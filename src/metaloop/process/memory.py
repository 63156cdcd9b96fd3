"""Find the memory available to a process. Imports no torch, so that commands stay fast."""

import os
import resource
from pathlib import Path

CONTAINERS_LIMIT = Path("/sys/fs/cgroup/memory.max")  # in bytes, or "max"


def memory_limit() -> int:
    """Return the machine's memory in bytes, or the limit of a container or `ulimit -v`."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    if (allowed := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        limits.append(allowed)
    if CONTAINERS_LIMIT.is_file() and (text := CONTAINERS_LIMIT.read_text().strip()).isdecimal():
        limits.append(int(text))
    return min(limits)
