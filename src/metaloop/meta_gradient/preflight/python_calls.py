"""Watch the calls of Python functions."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def watch_calls(look: Callable[[FrameType], None]) -> Iterator[None]:
    """Call `look` with the frame of every Python function called inside, in this thread.

    A profiler that was running stands still inside and goes on afterwards.
    """

    def on_event(frame: FrameType, event: str, argument: object) -> None:  # noqa: ARG001
        if event == "call":
            look(frame)

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        yield
    finally:
        sys.setprofile(None)
        if callable(before):
            sys.setprofile(before)
        elif before is not None:
            before.enable()  # cProfile's leaves itself, not a function
