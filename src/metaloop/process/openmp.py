"""Let threads that wait for each other sleep, so that busy cores are left to who needs them."""

import os


def wait_asleep() -> None:
    """Limit how long OpenMP's threads spin before they sleep. Call it before torch is imported.

    A step of a small network has hundreds of parallel regions. Where another program takes a core,
    the threads that have one spin until the last one is scheduled, in each of them. GNU's OpenMP,
    that of torch's packages for Linux, reads the variable once. What the user has set, holds.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # looks: some microseconds
