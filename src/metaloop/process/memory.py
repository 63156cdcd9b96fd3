"""How much memory a process may have. Imports no torch: commands stay quick."""

import os
import resource
from pathlib import Path

CONTAINERS_LIMIT = Path("/sys/fs/cgroup/memory.max")  # a number of bytes, or "max"


def memory_limit() -> int:
    """Bytes: the machine's, or less where a container or `ulimit -v` grants less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    if (allowed := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        limits.append(allowed)
    if CONTAINERS_LIMIT.is_file() and (text := CONTAINERS_LIMIT.read_text().strip()).isdecimal():
        limits.append(int(text))
    return min(limits)
