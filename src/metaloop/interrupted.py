"""What a stop signal raises. Imports no torch: it must be there before anything slow."""

import signal
from types import FrameType


class Interrupted(Exception):  # noqa: N818 - no error: what the user asked for
    """The run stopped on a signal."""

    def __init__(self, signal_number: int, where: str) -> None:
        super().__init__(f"{signal.Signals(signal_number).name} {where}")
        self.signal_number = signal_number


def stop_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler
    """Handle a signal where there is nothing to save."""
    raise Interrupted(number, "outside of training; what was saved before is kept")


def stop_on_signals() -> None:
    """From now on Ctrl-C and SIGTERM raise `Interrupted`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_at_once)
