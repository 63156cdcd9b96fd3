"""Which kernels a network's layers may take where they run: exact ones, and worth their calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# From how many numbers of one task, and twice as many of several tasks together, derivatives of
# our own save more than their calls cost: measured on Conv4, of 14 x 14 to 84 x 84 images.
LARGE = 2**16
_tasks: ContextVar[int] = ContextVar("tasks", default=0)


@contextmanager
def kernels_for(tasks: int) -> Iterator[None]:
    """Layers inside see so many tasks at once, and are differentiated in reverse mode alone.

    Torch's kernels are exact there. 0 says that nothing is known: primitives, exact anywhere.
    """
    token = _tasks.set(tasks)
    try:
        yield
    finally:
        _tasks.reset(token)


def tasks_at_once() -> int:
    """How many tasks the layers see at once; 0 where that is not known."""
    return _tasks.get()


def is_large(numbers: int) -> bool:
    """Whether so many numbers of each task are worth derivatives of our own."""
    tasks = _tasks.get()
    return numbers >= LARGE if tasks == 1 else tasks * numbers >= 2 * LARGE
