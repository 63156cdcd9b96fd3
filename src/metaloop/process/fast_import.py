"""Make programs that use this package start and end faster. Imports no torch."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from metaloop.process.openmp import wait_asleep


@contextmanager
def fast_imports() -> Iterator[None]:
    """Import inside with garbage collection off: modules are never garbage.

    torch and Lightning create a million objects. Python would search them for garbage many times
    during import, in every full collection, and at exit: a quarter of a short run's time. torch's
    threads wait as `wait_asleep` says. If torch is already imported, this does nothing: the
    objects of the embedding program should not be frozen.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    wait_asleep()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
