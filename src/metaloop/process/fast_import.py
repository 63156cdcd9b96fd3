"""What makes a program of this package start and end sooner. Imports no torch."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fast_imports() -> Iterator[None]:
    """Import within: modules are never garbage, so the collector need not look at them.

    torch and Lightning make a million objects, among which Python would look for garbage many
    times while it imports them, at every full collection of the run, and once more when it ends:
    a quarter of the time that a short run takes. Where torch is there already, this program is
    part of another, whose objects are not to be kept.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
